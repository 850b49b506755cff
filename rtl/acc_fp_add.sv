// a + b; four cycles, a sum every cycle.
`default_nettype none
module acc_fp_add (
  input  logic        clk_i,
  input  logic [31:0] a_i,
  input  logic [31:0] b_i,
  output logic [31:0] y_o
);
  // 1: order by magnitude.
  logic [31:0]        hi, lo;
  logic [1:0]         kind;
  assign {hi, lo} = b_i[30:0] > a_i[30:0] ? {b_i, a_i} : {a_i, b_i};
  always_comb begin
    kind = acc_fp_pkg::Finite;
    if (acc_fp_pkg::is_nan(hi) || (acc_fp_pkg::is_inf(lo) && a_i[31] != b_i[31])) kind = acc_fp_pkg::NotANumber;
    else if (acc_fp_pkg::is_inf(hi)) kind = acc_fp_pkg::Infinite;
  end

  logic [23:0]        hi1_q, lo1_q;
  logic [7:0]         exp1_q, shift1_q;
  logic               sign1_q, sub1_q;
  logic [1:0]         kind1_q, kind2_q, kind3_q;

  // 2: align and add. Three bits below the mantissa, the last for all that is lost.
  logic [50:0] wide;
  logic [26:0] aligned;
  logic [27:0] sum2_q;
  logic [7:0]  exp2_q;
  logic        sign2_q, sub2_q;
  assign wide    = {lo1_q, 27'd0} >> (shift1_q > 8'd27 ? 5'd27 : shift1_q[4:0]);
  assign aligned = {wide[50:25], wide[24:0] != 25'd0};

  // 3: normalise, at most down to the exponent of 2^-126.
  logic [5:0]  zeros;
  logic [7:0]  shift;
  logic [26:0] norm, norm3_q;
  logic [9:0]  exp3_q;
  logic        sign3_q;
  assign zeros = acc_fp_pkg::zeros({sum2_q[26:0], 21'd0});
  assign shift = 8'(zeros) < exp2_q ? 8'(zeros) : exp2_q - 8'd1;
  assign norm  = sum2_q[26:0] << shift[4:0];

  // 4: round.
  logic [31:0] y_q;

  always_ff @(posedge clk_i) begin
    hi1_q    <= acc_fp_pkg::mantissa(hi);
    lo1_q    <= acc_fp_pkg::mantissa(lo);
    exp1_q   <= acc_fp_pkg::exponent(hi);
    shift1_q <= acc_fp_pkg::exponent(hi) - acc_fp_pkg::exponent(lo);
    sign1_q  <= hi[31];
    sub1_q   <= a_i[31] != b_i[31];
    kind1_q  <= kind;

    sum2_q  <= sub1_q ? {1'b0, hi1_q, 3'd0} - 28'(aligned) : {1'b0, hi1_q, 3'd0} + 28'(aligned);
    exp2_q  <= exp1_q;
    sign2_q <= sign1_q;
    sub2_q  <= sub1_q;
    kind2_q <= kind1_q;

    norm3_q <= sum2_q[27] ? {sum2_q[27:2], sum2_q[1] || sum2_q[0]} : norm;
    exp3_q  <= sum2_q[27] ? 10'(exp2_q) + 10'd1 : norm[26] ? 10'(exp2_q) - 10'(shift) : 10'd0;
    sign3_q <= sign2_q && !(sub2_q && sum2_q == 28'd0 && kind2_q == acc_fp_pkg::Finite);
    kind3_q <= kind2_q;

    y_q <= acc_fp_pkg::special(kind3_q, sign3_q, acc_fp_pkg::round(sign3_q, exp3_q, norm3_q));
  end
  assign y_o = y_q;
endmodule
`default_nettype wire
