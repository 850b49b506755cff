// Registers on the way of a stream, in both directions: a word in and one out every cycle, a cycle for each slice.
`default_nettype none
module acc_slices #(
  parameter int unsigned Width = 32,
  parameter int unsigned Slices = 1   // 0: a wire
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             in_valid_i,
  output logic             in_ready_o,
  input  logic [Width-1:0] in_data_i,
  output logic             out_valid_o,
  input  logic             out_ready_i,
  output logic [Width-1:0] out_data_o
);
  logic [Slices:0]           valid, ready;
  logic [(Slices+1)*Width-1:0] data;
  assign valid[0]        = in_valid_i;
  assign data[Width-1:0] = in_data_i;
  assign in_ready_o      = ready[0];
  assign ready[Slices]   = out_ready_i;
  assign out_valid_o     = valid[Slices];
  assign out_data_o      = data[Slices*Width +: Width];

  for (genvar s = 0; s < Slices; s++) begin : gen_slice
    acc_fifo #(.Width(Width), .Depth(2)) u_fifo (.clk_i, .rst_ni, .in_valid_i(valid[s]), .in_ready_o(ready[s]),
                                                 .in_data_i(data[s*Width +: Width]), .out_valid_o(valid[s+1]),
                                                 .out_ready_i(ready[s+1]), .out_data_o(data[(s+1)*Width +: Width]));
  end
endmodule
`default_nettype wire
