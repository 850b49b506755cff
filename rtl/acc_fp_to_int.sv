// The nearest integer, ties to even, of |x| < 2^31; anything else gives -2^31. Two cycles, one every cycle.
`default_nettype none
module acc_fp_to_int (
  input  logic        clk_i,
  input  logic [31:0] x_i,
  output logic [31:0] y_o
);
  logic [56:0] wide, wide_q;  // ones from bit 25 on
  logic        sign_q, beyond_q;
  logic [31:0] rounded, y_q;
  assign wide    = x_i[30:23] < 8'd125 ? 57'd0 : {33'd0, acc_fp_pkg::mantissa(x_i)} << 6'(x_i[30:23] - 8'd125);
  assign rounded = wide_q[56:25] + 32'(wide_q[24] && (wide_q[25] || wide_q[23:0] != 24'd0));

  always_ff @(posedge clk_i) begin
    wide_q   <= wide;
    sign_q   <= x_i[31];
    beyond_q <= x_i[30:23] > 8'd157;
    y_q      <= beyond_q ? 32'h80000000 : sign_q ? -rounded : rounded;
  end
  assign y_o = y_q;
endmodule
`default_nettype wire
