// One stream of words to every channel. Each has Depth words of its own, so that channels may run apart by as much, then
// Slices registers on the way (a die crossing asks for one or two). A word is taken when every channel has room for it.
`default_nettype none
module acc_bcast #(
  parameter int unsigned Channels = 1,
  parameter int unsigned Width = 32,
  parameter int unsigned Depth = 8,   // a power of two
  parameter int unsigned Slices = 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      in_valid_i,
  output logic                      in_ready_o,
  input  logic [Width-1:0]          in_data_i,
  output logic [Channels-1:0]       out_valid_o,
  input  logic [Channels-1:0]       out_ready_i,
  output logic [Channels*Width-1:0] out_data_o
);
  logic [Channels-1:0] room;
  assign in_ready_o = &room;

  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    logic             valid, ready;
    logic [Width-1:0] data;
    acc_fifo #(.Width(Width), .Depth(Depth)) u_fifo (.clk_i, .rst_ni, .in_valid_i(in_valid_i && in_ready_o),
                                                     .in_ready_o(room[c]), .in_data_i, .out_valid_o(valid),
                                                     .out_ready_i(ready), .out_data_o(data));
    acc_slices #(.Width(Width), .Slices(Slices)) u_slices (.clk_i, .rst_ni, .in_valid_i(valid), .in_ready_o(ready),
                                                           .in_data_i(data), .out_valid_o(out_valid_o[c]),
                                                           .out_ready_i(out_ready_i[c]),
                                                           .out_data_o(out_data_o[c*Width +: Width]));
  end
endmodule
`default_nettype wire
