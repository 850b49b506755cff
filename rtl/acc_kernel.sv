// The accelerator: registers, sequencer and units on their memory channels. Each channel has an AXI4 read and a write port
// with acc_axi_rd's and acc_axi_wr's signals, channel 0 in the low bits; channel c's line 0 is at byte base_i[c].
//
// Units share a channel's reads (the engine with 512 lines of prefetch), its writes, and the vector memory. Of MM and ATT,
// which need the same multipliers, only one is at work. A flush after an error resets all units.
`default_nettype none
module acc_kernel #(
  parameter int unsigned Channels = 1,                  // 1, 2, 4, ... 32
  parameter int unsigned Lines = acc_pkg::ChannelLines, // of a channel
  parameter int unsigned Timeout = 65536,               // cycles
  parameter int unsigned Slices = 1                     // registers on the way to each channel's engine and back
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    axil_awvalid_i,
  output logic                    axil_awready_o,
  input  logic [7:0]              axil_awaddr_i,
  input  logic                    axil_wvalid_i,
  output logic                    axil_wready_o,
  input  logic [31:0]             axil_wdata_i,
  input  logic [3:0]              axil_wstrb_i,
  output logic                    axil_bvalid_o,
  input  logic                    axil_bready_i,
  output logic [1:0]              axil_bresp_o,
  input  logic                    axil_arvalid_i,
  output logic                    axil_arready_o,
  input  logic [7:0]              axil_araddr_i,
  output logic                    axil_rvalid_o,
  input  logic                    axil_rready_i,
  output logic [31:0]             axil_rdata_o,
  output logic [1:0]              axil_rresp_o,
  output logic                    interrupt_o,
  input  logic [Channels*64-1:0]  base_i,               // multiples of 4096
  output logic [Channels-1:0]           axi_arvalid_o,
  input  logic [Channels-1:0]           axi_arready_i,
  output logic [Channels-1:0]           axi_arid_o,
  output logic [Channels*64-1:0]        axi_araddr_o,
  output logic [Channels*8-1:0]         axi_arlen_o,
  output logic [Channels*3-1:0]         axi_arsize_o,
  output logic [Channels*2-1:0]         axi_arburst_o,
  input  logic [Channels-1:0]           axi_rvalid_i,
  output logic [Channels-1:0]           axi_rready_o,
  input  logic [Channels-1:0]           axi_rid_i,
  input  logic [Channels*512-1:0]       axi_rdata_i,
  input  logic [Channels*2-1:0]         axi_rresp_i,
  input  logic [Channels-1:0]           axi_rlast_i,
  output logic [Channels-1:0]           axi_awvalid_o,
  input  logic [Channels-1:0]           axi_awready_i,
  output logic [Channels-1:0]           axi_awid_o,
  output logic [Channels*64-1:0]        axi_awaddr_o,
  output logic [Channels*8-1:0]         axi_awlen_o,
  output logic [Channels*3-1:0]         axi_awsize_o,
  output logic [Channels*2-1:0]         axi_awburst_o,
  output logic [Channels-1:0]           axi_wvalid_o,
  input  logic [Channels-1:0]           axi_wready_i,
  output logic [Channels*512-1:0]       axi_wdata_o,
  output logic [Channels*64-1:0]        axi_wstrb_o,
  output logic [Channels-1:0]           axi_wlast_o,
  input  logic [Channels-1:0]           axi_bvalid_i,
  output logic [Channels-1:0]           axi_bready_o,
  input  logic [Channels-1:0]           axi_bid_i,
  input  logic [Channels*2-1:0]         axi_bresp_i
);
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels);

  // ---- registers and sequencer ----
  logic            start, done, geometry_valid, geometry_bad, want_logits, flush, unit_rst_n;
  logic [3:0]      error, kv_bits;
  logic [12:0]     error_at, page;
  logic [15:0]     error_round;
  logic [4:0]      error_channel;
  logic            best_valid;
  logic [31:0]     best, token, ring_page, near_slot, attention_scale, norm_epsilon;
  logic [63:0]     position;
  logic [8:0]      head_dim, nears, near_positions;
  logic [10:0]     heads, kv_heads, sinks;
  logic [22:0]     window;
  logic [18:0]     ring_pages;
  logic [23:0]     rope;
  acc_unit_pkg::settings_t settings;
  acc_ctrl #(.Channels(Channels), .Lines(Lines)) u_ctrl (
      .clk_i, .rst_ni, .axil_awvalid_i, .axil_awready_o, .axil_awaddr_i, .axil_wvalid_i, .axil_wready_o, .axil_wdata_i,
      .axil_wstrb_i, .axil_bvalid_o, .axil_bready_i, .axil_bresp_o, .axil_arvalid_i, .axil_arready_o, .axil_araddr_i,
      .axil_rvalid_o, .axil_rready_i, .axil_rdata_o, .axil_rresp_o, .interrupt_o, .start_o(start), .done_i(done),
      .error_i(error), .error_at_i(error_at), .error_round_i(error_round), .error_channel_i(error_channel),
      .best_valid_i(best_valid), .best_token_i(best), .geometry_valid_o(geometry_valid), .geometry_bad_o(geometry_bad),
      .token_o(token), .position_o(position), .ring_page_o(ring_page), .near_slot_o(near_slot), .want_logits_o(want_logits),
      .heads_o(heads), .kv_heads_o(kv_heads), .head_dim_o(head_dim), .page_o(page), .sinks_o(sinks), .window_o(window),
      .near_o(nears), .kv_bits_o(kv_bits), .ring_pages_o(ring_pages), .near_positions_o(near_positions), .rope_o(rope),
      .attention_scale_o(attention_scale), .norm_epsilon_o(norm_epsilon));
  assign settings = {32'(heads), 32'(kv_heads), 32'(head_dim), 32'(page), 32'(sinks), 32'(window), 32'(nears), 32'(kv_bits),
                     32'(ring_pages), 32'(near_positions), position, ring_page, near_slot, 32'(rope),
                     attention_scale};

  logic                   fetch_rq_valid, fetch_rd_ready;
  logic [23:0]            fetch_line;
  logic [15:0]            fetch_count;
  logic [2:0]             cmd_valid, cmd_ready, unit_done;
  logic [3*128-1:0]       cmd;
  acc_pkg::error_e        mm_error, cache_error, vec_error;
  logic [4:0]             mm_channel, vec_channel;
  logic [Channels*8-1:0]  port_error;
  logic [Channels*2-1:0]  port_idle, port_wedged;
  acc_seq #(.Channels(Channels), .Lines(Lines)) u_seq (
      .clk_i, .rst_ni, .start_i(start), .done_o(done), .logits_i(want_logits), .geometry_valid_i(geometry_valid),
      .geometry_bad_i(geometry_bad), .rq_valid_o(fetch_rq_valid), .rq_ready_i(fetch_rq_ready), .rq_line_o(fetch_line),
      .rq_count_o(fetch_count), .rd_valid_i(fetch_rd_valid), .rd_ready_o(fetch_rd_ready), .rd_data_i(fetch_data),
      .cmd_valid_o(cmd_valid), .cmd_ready_i(cmd_ready), .cmd_o(cmd), .done_i(unit_done),
      .error_i({vec_error, cache_error, mm_error}), .error_channel_i({vec_channel, 5'd0, mm_channel}),
      .port_error_i(port_error), .port_idle_i(port_idle), .port_wedged_i(port_wedged), .flush_o(flush), .error_o(error),
      .error_at_o(error_at), .error_round_o(error_round), .error_channel_o(error_channel));
  always_ff @(posedge clk_i) unit_rst_n <= rst_ni && !flush;

  // ---- channels: readers are engine, vector unit, cache queue and, in channel 0, the sequencer ----
  localparam logic [4*16-1:0] Depths = {16'd16, 16'd64, 16'd64, 16'd512};
  logic [Channels-1:0]     mm_rq_valid, mm_rq_ready, mm_rd_valid, mm_rd_ready, vec_rq_valid, vec_rq_ready, vec_rd_valid;
  logic [Channels-1:0]     vec_rd_ready, cache_rq_valid, cache_rq_ready, cache_rd_valid, cache_rd_ready, w_idle;
  logic [Channels*24-1:0]  mm_rq_line, vec_rq_line;
  logic [Channels*16-1:0]  mm_rq_count, vec_rq_count;
  logic [Channels*512-1:0] mm_rd_data, vec_rd_data, cache_rd_data;
  logic [23:0]             cache_rq_line;
  logic [15:0]             cache_rq_count;
  logic                    fetch_rq_ready, fetch_rd_valid;
  logic [511:0]            fetch_data;
  // Writers are the same without the sequencer, each with a line for one channel.
  logic [2:0]              wq_valid;
  logic [3*ChannelW-1:0]   wq_channel;
  logic [3*24-1:0]         wq_line;
  logic [3*512-1:0]        wq_data;
  logic [3*64-1:0]         wq_strb;
  logic [Channels*3-1:0]   wq_ready;
  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    localparam int unsigned Readers = c == 0 ? 4 : 3;
    logic [Readers-1:0]     rq_valid, rq_ready, rd_valid, rd_ready;
    logic [Readers*24-1:0]  rq_line;
    logic [Readers*16-1:0]  rq_count;
    logic [Readers*512-1:0] rd_data;
    logic [2:0]             w_valid;
    assign rq_valid[2:0]    = {cache_rq_valid[c], vec_rq_valid[c], mm_rq_valid[c]};
    assign rq_line[71:0]    = {cache_rq_line, vec_rq_line[c*24 +: 24], mm_rq_line[c*24 +: 24]};
    assign rq_count[47:0]   = {cache_rq_count, vec_rq_count[c*16 +: 16], mm_rq_count[c*16 +: 16]};
    assign rd_ready[2:0]    = {cache_rd_ready[c], vec_rd_ready[c], mm_rd_ready[c]};
    assign {cache_rq_ready[c], vec_rq_ready[c], mm_rq_ready[c]} = rq_ready[2:0];
    assign {cache_rd_valid[c], vec_rd_valid[c], mm_rd_valid[c]} = rd_valid[2:0];
    assign {cache_rd_data[c*512 +: 512], vec_rd_data[c*512 +: 512], mm_rd_data[c*512 +: 512]} = rd_data[1535:0];
    if (c == 0) begin : gen_fetch
      assign rq_valid[3]         = fetch_rq_valid;
      assign rq_line[3*24 +: 24] = fetch_line;
      assign rq_count[48 +: 16]  = fetch_count;
      assign rd_ready[3]         = fetch_rd_ready;
      assign fetch_rq_ready      = rq_ready[3];
      assign fetch_rd_valid      = rd_valid[3];
      assign fetch_data          = rd_data[1536 +: 512];
    end
    for (genvar w = 0; w < 3; w++) begin : gen_writer
      assign w_valid[w] = wq_valid[w] && wq_channel[w*ChannelW +: ChannelW] == ChannelW'(c);
    end
    assign w_idle[c] = port_idle[2*c + 1];
    acc_channel #(.Readers(Readers), .Depths(Depths[Readers*16-1:0]), .Writers(3), .Timeout(Timeout)) u_channel (
        .clk_i, .rst_ni, .unit_rst_ni(unit_rst_n), .base_i(base_i[c*64 +: 64]), .lines_i(24'(Lines)), .flush_i(flush),
        .rq_valid_i(rq_valid), .rq_ready_o(rq_ready), .rq_line_i(rq_line), .rq_count_i(rq_count), .rd_valid_o(rd_valid),
        .rd_ready_i(rd_ready), .rd_data_o(rd_data), .wq_valid_i(w_valid), .wq_ready_o(wq_ready[c*3 +: 3]),
        .wq_line_i(wq_line), .wq_data_i(wq_data), .wq_strb_i(wq_strb), .error_o(port_error[c*8 +: 8]),
        .idle_o(port_idle[c*2 +: 2]), .wedged_o(port_wedged[c*2 +: 2]),
        .axi_arvalid_o(axi_arvalid_o[c]), .axi_arready_i(axi_arready_i[c]), .axi_arid_o(axi_arid_o[c]),
        .axi_araddr_o(axi_araddr_o[c*64 +: 64]), .axi_arlen_o(axi_arlen_o[c*8 +: 8]), .axi_arsize_o(axi_arsize_o[c*3 +: 3]),
        .axi_arburst_o(axi_arburst_o[c*2 +: 2]), .axi_rvalid_i(axi_rvalid_i[c]), .axi_rready_o(axi_rready_o[c]),
        .axi_rid_i(axi_rid_i[c]), .axi_rdata_i(axi_rdata_i[c*512 +: 512]), .axi_rresp_i(axi_rresp_i[c*2 +: 2]),
        .axi_rlast_i(axi_rlast_i[c]), .axi_awvalid_o(axi_awvalid_o[c]), .axi_awready_i(axi_awready_i[c]),
        .axi_awid_o(axi_awid_o[c]), .axi_awaddr_o(axi_awaddr_o[c*64 +: 64]), .axi_awlen_o(axi_awlen_o[c*8 +: 8]),
        .axi_awsize_o(axi_awsize_o[c*3 +: 3]), .axi_awburst_o(axi_awburst_o[c*2 +: 2]), .axi_wvalid_o(axi_wvalid_o[c]),
        .axi_wready_i(axi_wready_i[c]), .axi_wdata_o(axi_wdata_o[c*512 +: 512]), .axi_wstrb_o(axi_wstrb_o[c*64 +: 64]),
        .axi_wlast_o(axi_wlast_o[c]), .axi_bvalid_i(axi_bvalid_i[c]), .axi_bready_o(axi_bready_o[c]), .axi_bid_i(axi_bid_i[c]),
        .axi_bresp_i(axi_bresp_i[c*2 +: 2]));
  end
  logic [2:0] w_ready;
  for (genvar w = 0; w < 3; w++) begin : gen_written
    assign w_ready[w] = wq_ready[32'(wq_channel[w*ChannelW +: ChannelW])*3 + w];
  end

  // ---- vector memory and codes; its clients are in the same order ----
  logic [2:0]      r_valid, r_ready, q_valid, v_valid, v_ready;
  logic [3*12-1:0] r_addr, v_addr;
  logic [3*512-1:0] v_data;
  logic [3*16-1:0] v_mask;
  logic [511:0]    q_data;
  acc_vmem #(.Clients(3)) u_vmem (.clk_i, .rst_ni(unit_rst_n), .r_valid_i(r_valid), .r_ready_o(r_ready),
                                  .r_addr_i(r_addr), .q_valid_o(q_valid), .q_data_o(q_data), .w_valid_i(v_valid),
                                  .w_ready_o(v_ready), .w_addr_i(v_addr), .w_data_i(v_data), .w_mask_i(v_mask));
  logic         code_valid, scale_valid, play_valid, play_ready, quad_valid, quad_ready;
  logic [9:0]   code_addr;
  logic [127:0] code;
  logic [31:0]  new_scale, scale, quad;
  logic [10:0]  play_words;
  logic [15:0]  play_rounds;
  acc_codes u_codes (.clk_i, .rst_ni(unit_rst_n), .w_valid_i(code_valid), .w_addr_i(code_addr), .w_data_i(code),
                     .scale_valid_i(scale_valid), .scale_i(new_scale), .scale_o(scale), .play_valid_i(play_valid),
                     .play_ready_o(play_ready), .words_i(play_words), .rounds_i(play_rounds), .quad_valid_o(quad_valid),
                     .quad_ready_i(quad_ready), .quad_o(quad));

  // ---- units ----
  localparam int unsigned E = 32'(acc_pkg::QueueEngine), K = 32'(acc_pkg::QueueCache), V = 32'(acc_pkg::QueueVector);
  logic         mm_busy, lent, kv_valid, kv_four, kv_eight, sums_valid;
  logic [511:0] kv_line;
  logic [71:0]  kv_operands;
  logic [287:0] kv_low;
  logic [255:0] kv_high;
  // Clocks (acc_cache has its own gates), and what the units are offered or offer.
  logic       mm_q, vec_q;  // at work
  logic       mm_moves, vec_moves, clk_mm, clk_vec;
  always_ff @(posedge clk_i) begin
    mm_q  <= unit_rst_n && (mm_q || (cmd_valid[E] && cmd_ready[E])) && !unit_done[E];
    vec_q <= unit_rst_n && (vec_q || (cmd_valid[V] && cmd_ready[V])) && !unit_done[V];
  end
  assign mm_moves  = cmd_valid[E] || unit_done[E] || kv_valid || sums_valid || play_valid || quad_valid || r_valid[0] ||
                     q_valid[0] || v_valid[0] || wq_valid[0] || mm_rq_valid != '0 || mm_rd_valid != '0;
  assign vec_moves = cmd_valid[V] || unit_done[V] || code_valid || scale_valid || r_valid[1] || q_valid[1] || v_valid[1] ||
                     wq_valid[1] || vec_rq_valid != '0 || vec_rd_valid != '0;
  acc_gate u_gate_mm (.clk_i, .rst_ni(unit_rst_n), .busy_i(cmd_valid[E] || mm_q || lent), .moves_i(mm_moves),
                      .clk_o(clk_mm));
  acc_gate u_gate_vec (.clk_i, .rst_ni(unit_rst_n), .busy_i(cmd_valid[V] || vec_q), .moves_i(vec_moves),
                       .clk_o(clk_vec));
  acc_mm #(.Channels(Channels), .Slices(Slices)) u_mm (
      .clk_i(clk_mm), .rst_ni(unit_rst_n), .lines_i(24'(Lines)), .hold_i(lent), .busy_o(mm_busy),
      .cmd_valid_i(cmd_valid[E]), .cmd_ready_o(cmd_ready[E]), .cmd_i(cmd[E*128 +: 128]), .done_o(unit_done[E]),
      .error_o(mm_error), .error_channel_o(mm_channel), .scale_i(scale), .play_valid_o(play_valid), .play_ready_i(play_ready),
      .play_words_o(play_words), .play_rounds_o(play_rounds), .quad_valid_i(quad_valid), .quad_ready_o(quad_ready),
      .quad_i(quad), .r_valid_o(r_valid[0]), .r_ready_i(r_ready[0]), .r_addr_o(r_addr[11:0]), .q_valid_i(q_valid[0]),
      .q_data_i(q_data), .w_valid_o(v_valid[0]), .w_ready_i(v_ready[0]), .w_addr_o(v_addr[11:0]), .w_data_o(v_data[511:0]),
      .w_mask_o(v_mask[15:0]), .rq_valid_o(mm_rq_valid), .rq_ready_i(mm_rq_ready), .rq_line_o(mm_rq_line),
      .rq_count_o(mm_rq_count), .rd_valid_i(mm_rd_valid), .rd_ready_o(mm_rd_ready), .rd_data_i(mm_rd_data),
      .wq_valid_o(wq_valid[0]), .wq_ready_i(w_ready[0]), .wq_channel_o(wq_channel[ChannelW-1:0]), .wq_line_o(wq_line[23:0]),
      .wq_data_o(wq_data[511:0]), .wq_strb_o(wq_strb[63:0]), .w_idle_i(w_idle), .kv_valid_i(kv_valid), .kv_four_i(kv_four),
      .kv_eight_i(kv_eight), .kv_line_i(kv_line), .kv_operands_i(kv_operands), .kv_sums_valid_o(sums_valid),
      .kv_low_o(kv_low), .kv_high_o(kv_high));

  acc_vec #(.Channels(Channels)) u_vec (
      .clk_i(clk_vec), .rst_ni(unit_rst_n), .cmd_valid_i(cmd_valid[V]), .cmd_ready_o(cmd_ready[V]),
      .cmd_i(cmd[V*128 +: 128]), .done_o(unit_done[V]), .error_o(vec_error), .error_channel_o(vec_channel),
      .token_i(token), .epsilon_i(norm_epsilon), .lines_i(24'(Lines)), .best_valid_o(best_valid),
      .best_o(best), .r_valid_o(r_valid[1]), .r_ready_i(r_ready[1]), .r_addr_o(r_addr[12 +: 12]),
      .q_valid_i(q_valid[1]), .q_data_i(q_data), .w_valid_o(v_valid[1]), .w_ready_i(v_ready[1]), .w_addr_o(v_addr[12 +: 12]),
      .w_data_o(v_data[512 +: 512]), .w_mask_o(v_mask[16 +: 16]), .code_valid_o(code_valid), .code_addr_o(code_addr),
      .code_o(code), .scale_valid_o(scale_valid), .scale_o(new_scale), .rq_valid_o(vec_rq_valid), .rq_ready_i(vec_rq_ready),
      .rq_line_o(vec_rq_line), .rq_count_o(vec_rq_count), .rd_valid_i(vec_rd_valid), .rd_ready_o(vec_rd_ready),
      .rd_data_i(vec_rd_data), .wq_valid_o(wq_valid[1]), .wq_ready_i(w_ready[1]),
      .wq_channel_o(wq_channel[ChannelW +: ChannelW]), .wq_line_o(wq_line[24 +: 24]), .wq_data_o(wq_data[512 +: 512]),
      .wq_strb_o(wq_strb[64 +: 64]), .w_idle_i(w_idle));

  acc_cache #(.Channels(Channels)) u_cache (
      .clk_i, .rst_ni(unit_rst_n), .settings_i(settings), .lines_i(23'(Lines)), .hold_i(mm_busy || cmd_valid[E]),
      .lent_o(lent), .cmd_valid_i(cmd_valid[K]), .cmd_ready_o(cmd_ready[K]), .cmd_i(cmd[K*128 +: 128]),
      .done_o(unit_done[K]), .error_o(cache_error), .r_valid_o(r_valid[2]), .r_ready_i(r_ready[2]),
      .r_addr_o(r_addr[24 +: 12]), .q_valid_i(q_valid[2]), .q_data_i(q_data), .w_valid_o(v_valid[2]),
      .w_ready_i(v_ready[2]), .w_addr_o(v_addr[24 +: 12]), .w_data_o(v_data[1024 +: 512]), .w_mask_o(v_mask[32 +: 16]),
      .rq_valid_o(cache_rq_valid), .rq_ready_i(cache_rq_ready), .rq_line_o(cache_rq_line), .rq_count_o(cache_rq_count),
      .rd_valid_i(cache_rd_valid), .rd_ready_o(cache_rd_ready), .rd_data_i(cache_rd_data), .wq_valid_o(wq_valid[2]),
      .wq_ready_i(w_ready[2]), .wq_channel_o(wq_channel[2*ChannelW +: ChannelW]), .wq_line_o(wq_line[48 +: 24]),
      .wq_data_o(wq_data[1024 +: 512]), .wq_strb_o(wq_strb[128 +: 64]), .w_idle_i(w_idle), .kv_valid_o(kv_valid),
      .kv_four_o(kv_four), .kv_eight_o(kv_eight), .kv_line_o(kv_line), .kv_operands_o(kv_operands),
      .kv_sums_valid_i(sums_valid), .kv_low_i(kv_low), .kv_high_i(kv_high));
endmodule
`default_nettype wire
