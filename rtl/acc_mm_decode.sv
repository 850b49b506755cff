// An MM: its fields, how long its row blocks are, and whether it may (acc_model_mm() of the device model).
`default_nettype none
module acc_mm_decode #(
  parameter int unsigned Channels = 1  // a power of two
) (
  input  logic             clk_i,
  input  logic             load_i,
  input  logic [127:0]     cmd_i,
  input  logic [23:0]      lines_i,         // of a channel
  // a cycle after load_i
  output logic [1:0]       format_o,        // acc_pkg::format_e
  output logic [1:0]       levels_o,
  output logic [5:0]       quads_o,         // of a group
  output logic [9:0]       groups_o,
  output logic             bias_o,
  output logic [15:0]      blocks_o,        // row blocks,
  output logic [15:0]      own_o,           // of each channel
  output logic [23:0]      stream_o,
  output logic [1:0]       target_o,
  output logic [23:0]      dst_o,
  output logic [1:0]       step_o,
  output logic [10:0]      words_o,         // of 16 activation codes
  output logic [17:0]      block_lines_o,   // two cycles after it
  output acc_pkg::error_e  refusal_o        // three
);
  logic [84:0] f_q;
  always_ff @(posedge clk_i) if (load_i) f_q <= cmd_i[84:0];
  logic [1:0]  group;
  logic [12:0] words;
  assign format_o = f_q[acc_pkg::MmFormatLsb +: acc_pkg::MmFormatW];
  assign levels_o = f_q[acc_pkg::MmLevelsLsb +: acc_pkg::MmLevelsW];
  assign group    = f_q[acc_pkg::MmGroupLsb +: acc_pkg::MmGroupW];
  assign bias_o   = f_q[acc_pkg::MmBiasLsb];
  assign groups_o = f_q[acc_pkg::MmGroupsLsb +: acc_pkg::MmGroupsW];
  assign blocks_o = f_q[acc_pkg::MmBlocksLsb +: acc_pkg::MmBlocksW];
  assign stream_o = f_q[acc_pkg::MmStreamLsb +: acc_pkg::MmStreamW];
  assign target_o = f_q[acc_pkg::MmTargetLsb +: acc_pkg::MmTargetW];
  assign dst_o    = f_q[acc_pkg::MmDstLsb +: acc_pkg::MmDstW];
  assign step_o   = f_q[acc_pkg::MmStepLsb +: acc_pkg::MmStepW];
  assign quads_o  = 6'd8 << group;
  assign own_o    = 16'((17'(blocks_o) + 17'(Channels - 1)) >> $clog2(Channels));
  assign words    = {2'd0, groups_o, 1'b0} << group;
  assign words_o  = words[10:0];

  logic [7:0] tile;  // lines
  always_comb begin
    unique case (format_o)
      acc_pkg::FormatW2s: tile = (8'd7 << group) + 8'd1;
      acc_pkg::FormatW2:  tile = 8'(quads_o) + 8'd1;
      acc_pkg::FormatW4:  tile = {1'b0, quads_o, 1'b0} + 8'd1;
      default:            tile = {quads_o, 2'b00};
    endcase
  end
  logic [33:0] stream_lines_q;  // of each channel
  always_ff @(posedge clk_i) begin
    block_lines_o  <= 18'(groups_o) * 18'(tile) + (bias_o ? 18'd8 : 18'd4);
    stream_lines_q <= 34'(own_o) * 34'(block_lines_o);
  end

  logic [17:0] last_block;
  logic        memory, stream_beyond, dst_beyond;
  assign memory        = target_o == acc_pkg::TargetMemory;
  assign last_block    = (18'(blocks_o) - 18'd1) * 18'(step_o);
  assign stream_beyond = 35'(stream_o) + 35'(stream_lines_q) > 35'(lines_i);
  assign dst_beyond    = memory ? 25'(dst_o) + {7'd0, own_o, 2'b00} > 25'(lines_i)
                                : 25'(dst_o) + 25'(last_block) >= 25'(acc_pkg::VmemBlocks);
  always_comb begin
    refusal_o = acc_pkg::ErrorNone;
    if (words > 13'(acc_pkg::CodesMax / 16)) refusal_o = acc_pkg::ErrorBadField;
    else if (stream_beyond) refusal_o = acc_pkg::ErrorBadAddress;
    else if (dst_beyond) refusal_o = memory ? acc_pkg::ErrorBadAddress : acc_pkg::ErrorBadField;
  end
endmodule
`default_nettype wire
