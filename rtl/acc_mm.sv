// MM: a linear layer, on an engine in each channel. Every channel reads its part of the stream, row block by row block,
// all get the activation codes once for each of these, and their rows go in order into the vector memory, are added to
// it, or leave as lines of logits. done_o comes when everything is written. Bit for bit src/accel/model_engine.c.
//
// Between two of them the multipliers of channel 0 serve attention (kv_*); while hold_i says so none is begun.
`default_nettype none
module acc_mm #(
  parameter int unsigned Channels = 1,  // a power of two
  parameter int unsigned Slices = 1,    // registers on the way to each channel and back
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic [23:0]             lines_i,          // of a channel
  input  logic                    hold_i,
  output logic                    busy_o,
  input  logic                    cmd_valid_i,
  output logic                    cmd_ready_o,
  input  logic [127:0]            cmd_i,
  output logic                    done_o,
  output acc_pkg::error_e         error_o,          // with done_o
  output logic [4:0]              error_channel_o,
  // activation codes (acc_codes)
  input  logic [31:0]             scale_i,
  output logic                    play_valid_o,
  input  logic                    play_ready_i,
  output logic [10:0]             play_words_o,
  output logic [15:0]             play_rounds_o,
  input  logic                    quad_valid_i,
  output logic                    quad_ready_o,
  input  logic [31:0]             quad_i,
  // vector memory
  output logic                    r_valid_o,
  input  logic                    r_ready_i,
  output logic [11:0]             r_addr_o,
  input  logic                    q_valid_i,
  input  logic [511:0]            q_data_i,
  output logic                    w_valid_o,
  input  logic                    w_ready_i,
  output logic [11:0]             w_addr_o,
  output logic [511:0]            w_data_o,
  output logic [15:0]             w_mask_o,
  // memory
  output logic [Channels-1:0]     rq_valid_o,
  input  logic [Channels-1:0]     rq_ready_i,
  output logic [Channels*24-1:0]  rq_line_o,
  output logic [Channels*16-1:0]  rq_count_o,
  input  logic [Channels-1:0]     rd_valid_i,
  output logic [Channels-1:0]     rd_ready_o,
  input  logic [Channels*512-1:0] rd_data_i,
  output logic                    wq_valid_o,
  input  logic                    wq_ready_i,
  output logic [ChannelW-1:0]     wq_channel_o,
  output logic [23:0]             wq_line_o,
  output logic [511:0]            wq_data_o,
  output logic [63:0]             wq_strb_o,
  input  logic [Channels-1:0]     w_idle_i,         // every line that a channel took is written
  // multipliers for attention (acc_engine)
  input  logic                    kv_valid_i,
  input  logic                    kv_four_i,
  input  logic                    kv_eight_i,
  input  logic [511:0]            kv_line_i,
  input  logic [71:0]             kv_operands_i,
  output logic                    kv_sums_valid_o,
  output logic [287:0]            kv_low_o,
  output logic [255:0]            kv_high_o
);
  typedef enum logic [2:0] {Idle = 3'd0, Size = 3'd1, Total = 3'd2, Check = 3'd3, Play = 3'd4, Run = 3'd5, Drain = 3'd6,
                            Done = 3'd7} state_e;
  state_e          state_q;
  acc_pkg::error_e error_q;

  // ---- the instruction ----
  acc_pkg::error_e  refusal;
  logic [1:0]       format, levels, target;
  logic [5:0]       quads;
  logic [9:0]       groups;
  logic             bias, go;
  logic [15:0]      blocks, own;
  logic [23:0]      stream, dst;
  logic [1:0]       step;
  logic [10:0]      words;
  logic [17:0]      block_lines;
  acc_mm_decode #(.Channels(Channels)) u_decode (
      .clk_i, .load_i(cmd_valid_i && cmd_ready_o), .cmd_i, .lines_i, .format_o(format), .levels_o(levels),
      .quads_o(quads), .groups_o(groups), .bias_o(bias), .blocks_o(blocks), .own_o(own), .stream_o(stream),
      .target_o(target), .dst_o(dst), .step_o(step), .words_o(words), .block_lines_o(block_lines), .refusal_o(refusal));
  assign go            = state_q == Check && refusal == acc_pkg::ErrorNone;
  assign play_valid_o  = state_q == Play;
  assign play_words_o  = words;
  assign play_rounds_o = own;

  // ---- channels ----
  logic [Channels-1:0]     quad_valid, quad_ready, y_valid, y_ready, sums_valid;
  logic [Channels*32-1:0]  quad;
  logic [Channels*128-1:0] y;
  logic [Channels*288-1:0] low;
  logic [Channels*256-1:0] high;
  acc_bcast #(.Channels(Channels), .Slices(Slices)) u_bcast (
      .clk_i, .rst_ni, .in_valid_i(quad_valid_i), .in_ready_o(quad_ready_o), .in_data_i(quad_i), .out_valid_o(quad_valid),
      .out_ready_i(quad_ready), .out_data_o(quad));
  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    logic [15:0] left_q;  // row blocks that are still to be asked for
    logic [23:0] line_q;
    assign rq_valid_o[c]          = left_q != '0;
    assign rq_line_o[c*24 +: 24]  = line_q;
    assign rq_count_o[c*16 +: 16] = block_lines[15:0];
    always_ff @(posedge clk_i) begin
      if (go) line_q <= stream;
      else if (rq_ready_i[c]) line_q <= line_q + 24'(block_lines);
      if (!rst_ni) left_q <= '0;
      else if (go) left_q <= own;
      else left_q <= left_q - 16'(rq_valid_o[c] && rq_ready_i[c]);
    end
    acc_engine u_engine (
        .clk_i, .rst_ni, .format_i(format), .levels_i(levels), .quads_i(quads), .groups_i(groups), .bias_i(bias),
        .scale_i, .line_valid_i(rd_valid_i[c]), .line_ready_o(rd_ready_o[c]), .line_i(rd_data_i[c*512 +: 512]),
        .quad_valid_i(quad_valid[c]), .quad_ready_o(quad_ready[c]), .quad_i(quad[c*32 +: 32]), .y_valid_o(y_valid[c]),
        .y_ready_i(y_ready[c]), .y_o(y[c*128 +: 128]), .kv_i(c == 0 && hold_i), .kv_valid_i(c == 0 && kv_valid_i),
        .kv_four_i, .kv_eight_i, .kv_line_i, .kv_operands_i, .kv_sums_valid_o(sums_valid[c]),
        .kv_low_o(low[c*288 +: 288]), .kv_high_o(high[c*256 +: 256]));
  end
  assign kv_sums_valid_o = sums_valid[0];
  assign kv_low_o        = low[287:0];
  assign kv_high_o       = high[255:0];

  // ---- rows ----
  logic         row_valid, row_ready, collected, rows_busy, bad;
  logic [127:0] row;
  logic [15:0]  row_block;
  logic [3:0]   row_beat;
  acc_collect #(.Channels(Channels), .Slices(Slices)) u_collect (
      .clk_i, .rst_ni, .blocks_i(blocks), .in_valid_i(y_valid), .in_ready_o(y_ready), .in_data_i(y),
      .out_valid_o(row_valid), .out_ready_i(row_ready), .out_data_o(row), .out_block_o(row_block), .out_beat_o(row_beat),
      .done_o(collected));
  acc_rows #(.Channels(Channels)) u_rows (
      .clk_i, .rst_ni, .clear_i(go), .target_i(target), .dst_i(dst), .step_i(step), .in_valid_i(row_valid),
      .in_ready_o(row_ready), .in_data_i(row), .in_block_i(row_block), .in_beat_i(row_beat), .busy_o(rows_busy),
      .bad_o(bad), .bad_channel_o(error_channel_o), .r_valid_o, .r_ready_i, .r_addr_o, .q_valid_i, .q_data_i, .w_valid_o,
      .w_ready_i, .w_addr_o, .w_data_o, .w_mask_o, .wq_valid_o, .wq_ready_i, .wq_channel_o, .wq_line_o, .wq_data_o,
      .wq_strb_o);

  // ---- in turn ----
  assign busy_o      = state_q != Idle;
  assign cmd_ready_o = state_q == Idle && !hold_i;
  assign done_o      = state_q == Done;
  assign error_o     = error_q;
  always_ff @(posedge clk_i) begin
    if (state_q == Check) error_q <= refusal;
    else if (state_q == Drain && bad) error_q <= acc_pkg::ErrorNotFinite;
    if (!rst_ni) state_q <= Idle;
    else begin
      unique case (state_q)
        Idle:    if (cmd_valid_i && cmd_ready_o) state_q <= Size;
        Size:    state_q <= Total;
        Total:   state_q <= Check;
        Check:   state_q <= go ? Play : Done;
        Play:    if (play_ready_i) state_q <= Run;
        Run:     if (collected) state_q <= Drain;
        Drain:   if (!rows_busy && (target != acc_pkg::TargetMemory || &w_idle_i)) state_q <= Done;
        default: state_q <= Idle;
      endcase
    end
  end
endmodule
`default_nettype wire
