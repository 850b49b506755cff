// Reads a head's part of a vector of floats (or words of 4 bytes) out of memory: line k of the vector is on channel k mod
// Channels. Words leave with their place in the head (acc_head_mem).
`default_nettype none
module acc_params_rd #(
  parameter int unsigned Channels = 1,  // a power of two
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           start_i,
  input  logic [acc_unit_pkg::LineW-1:0] line_i,   // these are constant until the end
  input  logic [13:0]                    first_i,  // element
  input  logic [8:0]                     n_i,
  output logic                           busy_o,
  output logic                           rq_valid_o,
  input  logic                           rq_ready_i,
  output logic [ChannelW-1:0]            rq_channel_o,
  output logic [acc_unit_pkg::LineW-1:0] rq_line_o,
  input  logic                           rd_valid_i,
  output logic [7:0]                     base_o,
  output logic [15:0]                    mask_o
);
  logic [11:0] word;
  acc_words u_words (.clk_i, .rst_ni, .start_i, .first_i({2'd0, first_i}), .n_i, .busy_o, .rq_valid_o, .rq_ready_i,
                     .rq_word_o(word), .in_valid_i(rd_valid_i), .base_o, .mask_o);
  assign rq_channel_o = Channels == 1 ? '0 : word[ChannelW-1:0];
  assign rq_line_o    = line_i + (acc_unit_pkg::LineW'(word) >> $clog2(Channels));
endmodule
`default_nettype wire
