// An int32 as a float; two cycles, one every cycle.
`default_nettype none
module acc_fp_from_int (
  input  logic        clk_i,
  input  logic [31:0] x_i,
  output logic [31:0] y_o
);
  logic [31:0] magnitude_q, shifted, y_q;
  logic        sign_q;
  logic [5:0]  zeros;
  logic [9:0]  exp;
  assign zeros   = acc_fp_pkg::zeros({magnitude_q, 16'd0});
  assign shifted = magnitude_q << zeros[4:0];
  assign exp     = magnitude_q == 32'd0 ? 10'd0 : 10'd158 - 10'(zeros);

  always_ff @(posedge clk_i) begin
    magnitude_q <= x_i[31] ? -x_i : x_i;
    sign_q      <= x_i[31];
    y_q         <= acc_fp_pkg::round(sign_q, exp, {shifted[31:6], shifted[5:0] != 6'd0});
  end
  assign y_o = y_q;
endmodule
`default_nettype wire
