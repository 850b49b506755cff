// An instruction of the vector unit: its fields, what it asks of memories, and whether it may. The fields stand a cycle
// after load_i, all else two cycles after it.
`default_nettype none
module acc_vec_decode #(
  parameter int unsigned Channels = 1,  // a power of two
  parameter int unsigned LineW = 24
) (
  input  logic            clk_i,
  input  logic            load_i,
  input  logic [127:0]    cmd_i,
  input  logic [31:0]     token_i,
  input  logic [23:0]     lines_i,         // of a channel
  output logic            vec_o,           // VEC
  output logic            norm_o,
  output logic            silu_o,
  output logic            embed_o,         // MOV EMBED
  output logic            store_o,
  output logic            top_o,
  output logic            scaled_o,        // EMBED: token_embd_scale
  output logic            grouped_o,       // EMBED: groups of 32 << group_o have an m
  output logic [1:0]      group_o,
  output logic [23:0]     n_o,             // elements
  output logic [20:0]     words_o,         // of 16 of them
  output logic [18:0]     blocks_o,        // of 64
  output logic [3:0]      m_lines_o,       // of an embedding's row
  output logic [9:0]      block_o,         // source, or what MOV works on
  output logic [9:0]      dst_o,
  output logic [LineW-1:0] address_o,      // gain, vector, logits
  output logic [LineW-1:0] scale_address_o,
  output logic [LineW-1:0] row_o,          // the first line of the token's row
  output acc_pkg::error_e refusal_o
);
  localparam int unsigned Shift = $clog2(Channels);

  // The opcode, then the operands; the masks between them are the sequencer's.
  logic [3:0]  opcode_q;
  logic [77:0] f_q;
  always_ff @(posedge clk_i) if (load_i) {opcode_q, f_q} <= {cmd_i[127:124], cmd_i[77:0]};

  logic        mov;
  logic [23:0] address, scale_address;
  assign vec_o   = opcode_q == acc_pkg::OpVec;
  assign mov     = opcode_q == acc_pkg::OpMov;
  assign norm_o  = vec_o && f_q[acc_pkg::VecOpLsb +: acc_pkg::VecOpW] == acc_pkg::VectorNorm;
  assign silu_o  = vec_o && f_q[acc_pkg::VecOpLsb +: acc_pkg::VecOpW] == acc_pkg::VectorSilu;
  assign embed_o = mov && f_q[acc_pkg::MovOpLsb] == acc_pkg::MoveEmbed;
  assign store_o = mov && f_q[acc_pkg::MovOpLsb] == acc_pkg::MoveStore;
  assign top_o   = !vec_o && !mov;

  assign scaled_o        = f_q[acc_pkg::MovScaledLsb];
  assign grouped_o       = f_q[acc_pkg::MovGroupedLsb];
  assign group_o         = f_q[acc_pkg::MovGroupLsb +: acc_pkg::MovGroupW];
  assign scale_address   = f_q[acc_pkg::MovScaleLsb +: acc_pkg::MovScaleW];
  assign scale_address_o = scale_address[LineW-1:0];
  assign dst_o           = f_q[acc_pkg::VecDstLsb +: acc_pkg::VecDstW];
  assign block_o         = vec_o ? f_q[acc_pkg::VecSrcLsb +: acc_pkg::VecSrcW]
                                 : f_q[acc_pkg::MovBlockLsb +: acc_pkg::MovBlockW];
  assign n_o             = vec_o ? 24'(f_q[acc_pkg::VecNLsb +: acc_pkg::VecNW])
                           : mov ? 24'(f_q[acc_pkg::MovNLsb +: acc_pkg::MovNW])
                                 : f_q[acc_pkg::TopNLsb +: acc_pkg::TopNW];
  assign address_o       = address[LineW-1:0];
  assign address         = vec_o ? f_q[acc_pkg::VecGainLsb +: acc_pkg::VecGainW]
                           : mov ? f_q[acc_pkg::MovAddressLsb +: acc_pkg::MovAddressW]
                                 : f_q[acc_pkg::TopAddressLsb +: acc_pkg::TopAddressW];

  logic [20:0] vector_lines, top_lines;  // in each channel
  logic [9:0]  row_lines;
  logic [43:0] token_lines_q, row;       // up to the token's row
  assign words_o      = 21'((25'(n_o) + 25'd15) >> 4);
  assign blocks_o     = 19'((25'(n_o) + 25'd63) >> 6);
  assign vector_lines = (words_o + 21'(Channels - 1)) >> Shift;
  assign top_lines    = ((21'(blocks_o) + 21'(Channels - 1)) >> Shift) << 2;
  assign m_lines_o    = grouped_o ? 4'((16'(n_o) + (16'd2048 << group_o) - 16'd1) >> (4'd11 + 4'(group_o))) : 4'd0;
  assign row_lines    = 10'(blocks_o) + 10'(m_lines_o) + 10'd1;
  assign row          = token_lines_q + 44'(address);
  assign row_o        = row[LineW-1:0];
  always_ff @(posedge clk_i) token_lines_q <= (44'(token_i) >> Shift) * 44'(row_lines);

  function automatic logic beyond(input logic [43:0] line, input logic [20:0] lines, input logic [23:0] most);
    beyond = 45'(line) + 45'(lines) > 45'(most);
  endfunction
  logic        bad_field, bad_blocks, bad_lines;
  logic [23:0] source;  // blocks
  assign bad_field  = n_o == 24'd0 || (!top_o && n_o > 24'(acc_pkg::CodesMax)) ||
                      (vec_o && f_q[acc_pkg::VecOpLsb +: acc_pkg::VecOpW] == 2'd3);
  assign source     = silu_o ? {4'd0, blocks_o, 1'b0} : 24'(blocks_o);
  assign bad_blocks = !top_o && (24'(block_o) + source > 24'(acc_pkg::VmemBlocks) ||
                                 (silu_o && 24'(dst_o) + 24'(blocks_o) > 24'(acc_pkg::VmemBlocks)));
  assign bad_lines  = (embed_o && beyond(row, 21'(row_lines), lines_i)) ||
                      (embed_o && scaled_o && beyond(44'(scale_address), vector_lines, lines_i)) ||
                      ((norm_o || store_o) && beyond(44'(address), vector_lines, lines_i)) ||
                      (top_o && beyond(44'(address), top_lines, lines_i));
  assign refusal_o  = bad_field || bad_blocks ? acc_pkg::ErrorBadField
                      : bad_lines ? acc_pkg::ErrorBadAddress : acc_pkg::ErrorNone;
endmodule
`default_nettype wire
