// a * b; four cycles, a product every cycle.
`default_nettype none
module acc_fp_mul (
  input  logic        clk_i,
  input  logic [31:0] a_i,
  input  logic [31:0] b_i,
  output logic [31:0] y_o
);
  // 1: multiply the mantissas as they are.
  logic [1:0]         kind;
  logic               infinite, zero;
  assign infinite = acc_fp_pkg::is_inf(a_i) || acc_fp_pkg::is_inf(b_i);
  assign zero     = a_i[30:0] == 31'd0 || b_i[30:0] == 31'd0;
  always_comb begin
    kind = acc_fp_pkg::Finite;
    if (acc_fp_pkg::is_nan(a_i) || acc_fp_pkg::is_nan(b_i) || (infinite && zero)) kind = acc_fp_pkg::NotANumber;
    else if (infinite) kind = acc_fp_pkg::Infinite;
  end

  logic [47:0]        product1_q, product2_q;
  logic signed [10:0] exp1_q;  // of the product's second bit (bit 46), biased
  logic [2:0]         sign_q;
  logic [1:0]         kind1_q, kind2_q, kind3_q;

  // 2: how far the leading one is, and how far it may move: the exponent ends at that of 2^-126.
  logic [5:0]         zeros;
  logic signed [10:0] exp, shift;
  logic [9:0]         exp2_q, exp3_q;
  logic [6:0]         shift2_q;  // 26 more than to the left
  assign zeros = acc_fp_pkg::zeros(product1_q);
  assign exp   = exp1_q + 11'sd1 - 11'(signed'({1'b0, zeros}));
  assign shift = exp > 11'sd0 ? 11'(signed'({1'b0, zeros})) : exp1_q;

  // 3: shift either way.
  logic [73:0] wide;
  logic [26:0] norm3_q;
  assign wide = {26'd0, product2_q} << shift2_q;

  // 4: round.
  logic [31:0] y_q;

  always_ff @(posedge clk_i) begin
    product1_q <= acc_fp_pkg::mantissa(a_i) * acc_fp_pkg::mantissa(b_i);
    exp1_q     <= 11'(signed'({1'b0, acc_fp_pkg::exponent(a_i)})) + 11'(signed'({1'b0, acc_fp_pkg::exponent(b_i)})) -
                  11'sd127;
    sign_q     <= {sign_q[1:0], a_i[31] != b_i[31]};
    kind1_q    <= kind;

    product2_q <= product1_q;
    exp2_q     <= (exp > 11'sd0 && product1_q != 48'd0) ? exp[9:0] : 10'd0;
    shift2_q   <= shift < -11'sd26 ? 7'd0 : 7'(shift + 11'sd26);
    kind2_q    <= kind1_q;

    norm3_q <= {wide[73:48], wide[47:0] != 48'd0};
    exp3_q  <= exp2_q;
    kind3_q <= kind2_q;

    y_q <= acc_fp_pkg::special(kind3_q, sign_q[2], acc_fp_pkg::round(sign_q[2], exp3_q, norm3_q));
  end
  assign y_o = y_q;
endmodule
`default_nettype wire
