// A value some cycles later.
`default_nettype none
module acc_delay #(
  parameter int unsigned Width = 32,
  parameter int unsigned Cycles = 2   // at least 2
) (
  input  logic             clk_i,
  input  logic [Width-1:0] x_i,
  output logic [Width-1:0] x_o
);
  logic [Cycles*Width-1:0] line_q;
  assign x_o = line_q[(Cycles-1)*Width +: Width];
  always_ff @(posedge clk_i) line_q <= {line_q[(Cycles-1)*Width-1:0], x_i};
endmodule
`default_nettype wire
