// a / b, correctly rounded: one at a time, 28 cycles from taking the operands to the result.
`default_nettype none
module acc_fp_div (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        in_valid_i,
  output logic        in_ready_o,
  input  logic [31:0] a_i,
  input  logic [31:0] b_i,
  output logic        out_valid_o,
  input  logic        out_ready_i,
  output logic [31:0] y_o
);
  logic [5:0]         a_zeros, b_zeros;
  logic [23:0]        a_norm, b_norm;
  logic               less, a_zero, b_zero, a_inf, b_inf;
  logic signed [9:0]  exp;
  logic [1:0]         kind;
  assign a_zeros = acc_fp_pkg::zeros({acc_fp_pkg::mantissa(a_i), 24'd0});
  assign b_zeros = acc_fp_pkg::zeros({acc_fp_pkg::mantissa(b_i), 24'd0});
  assign a_norm  = acc_fp_pkg::mantissa(a_i) << a_zeros[4:0];
  assign b_norm  = acc_fp_pkg::mantissa(b_i) << b_zeros[4:0];
  assign less    = a_norm < b_norm;
  assign a_zero  = a_i[30:0] == 31'd0;
  assign b_zero  = b_i[30:0] == 31'd0;
  assign a_inf   = acc_fp_pkg::is_inf(a_i);
  assign b_inf   = acc_fp_pkg::is_inf(b_i);
  assign exp     = 10'(acc_fp_pkg::exponent(a_i)) - 10'(a_zeros) - 10'(acc_fp_pkg::exponent(b_i)) + 10'(b_zeros) +
                   10'd127 - 10'(less);
  always_comb begin
    kind = acc_fp_pkg::Finite;
    if (acc_fp_pkg::is_nan(a_i) || acc_fp_pkg::is_nan(b_i) || (a_zero && b_zero) || (a_inf && b_inf))
      kind = acc_fp_pkg::NotANumber;
    else if (a_inf || b_zero) kind = acc_fp_pkg::Infinite;
  end

  // One bit of the quotient a cycle: 24 of mantissa and two below; what remains tells of all further ones.
  localparam logic [4:0] Steps = 5'd26;
  logic [4:0]         left_q;  // steps still to do
  logic               busy_q, done_q, sign_q, zero_q;
  logic [1:0]         kind_q;
  logic signed [9:0]  exp_q;
  logic [23:0]        divisor_q;
  logic [24:0]        rest_q;  // below twice the divisor
  logic [25:0]        quotient_q;
  logic               fits;
  logic [23:0]        next;
  assign fits = rest_q >= {1'b0, divisor_q};
  assign next = fits ? 24'(rest_q - {1'b0, divisor_q}) : rest_q[23:0];

  // Below 2^-126 the quotient moves to the right.
  logic signed [9:0] below;
  logic [53:0]       wide;
  logic [26:0]       norm;
  logic [31:0]       y_q;
  assign below = 10'sd1 - exp_q;
  assign wide  = {quotient_q, rest_q != 25'd0, 27'd0} >> (below > 10'sd27 ? 5'd27 : below > 10'sd0 ? below[4:0] : 5'd0);
  assign norm  = {wide[53:28], wide[27:0] != 28'd0};

  assign in_ready_o  = !busy_q && (!done_q || out_ready_i);
  assign out_valid_o = done_q;
  assign y_o         = y_q;

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) begin
      sign_q     <= a_i[31] != b_i[31];
      kind_q     <= kind;
      zero_q     <= a_zero || b_inf;
      exp_q      <= exp;
      divisor_q  <= b_norm;
      rest_q     <= less ? {a_norm, 1'b0} : {1'b0, a_norm};
      quotient_q <= '0;
      left_q     <= Steps;
    end else if (busy_q && left_q != 5'd0) begin
      quotient_q <= {quotient_q[24:0], fits};
      rest_q     <= {next, 1'b0};
      left_q     <= left_q - 5'd1;
    end
    if (busy_q && left_q == 5'd0)
      y_q <= acc_fp_pkg::special(kind_q, sign_q, zero_q ? {sign_q, 31'd0}
                                 : acc_fp_pkg::round(sign_q, exp_q > 10'sd0 ? exp_q : 10'd0, norm));
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_q <= 1'b0;
    end else begin
      busy_q <= (in_valid_i && in_ready_o) || (busy_q && left_q != 5'd0);
      done_q <= (busy_q && left_q == 5'd0) || (done_q && !out_ready_i);
    end
  end
endmodule
`default_nettype wire
