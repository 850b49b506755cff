// acc_ctrl and acc_seq with a channel's read master and memory: registers and the run's protocol over AXI4-Lite, then
// random programs, good and spoilt, against the library's sequencer step by step: what begins may begin and is the right
// instruction with its strides, a run ends where and how the library says, units may fail. Memory, units and the register
// bus are stalled by a seeded generator. Last the geometry's check, and a memory that fails.
`default_nettype none
module tb_control (
  output logic done_o
);
  import "DPI-C" function void golden_program_open(input int kind, input int seed);
  import "DPI-C" function int golden_program_word(input int at, input int k);
  import "DPI-C" function void golden_seq_start(input int logits);
  import "DPI-C" function int golden_seq_ready(input int of_queue);
  import "DPI-C" function int golden_seq_word(input int k);
  import "DPI-C" function int golden_seq_pc();
  import "DPI-C" function int golden_seq_round();
  import "DPI-C" function int golden_seq_retire(input int queues);
  import "DPI-C" function int golden_seq_done();
  import "DPI-C" function int golden_seq_refused();
  import "DPI-C" function int golden_seq_stuck();
  import "DPI-C" function int golden_geometry_bad(input int heads, input int kv_heads, input int head_dim, input int sinks,
                                                  input int window, input int page, input int kv_bits, input int near_window,
                                                  input int ring_pages, input int near_positions);

  localparam int unsigned Lines = 32, Timeout = 200;
  logic        clk = 1'b0, rst_n = 1'b0;
  int          stall = 0, latency = 10, fault = 0, seed = 21, unit_seed = 22;
  logic        awvalid = 1'b0, awready, wvalid = 1'b0, wready, bvalid, bready = 1'b0, arvalid = 1'b0, arready, rvalid;
  logic        rready = 1'b0, interrupt;
  logic [7:0]  awaddr = '0, araddr = '0;
  logic [31:0] wdata = '0, rdata, best = 32'd4711;
  logic        best_valid = 1'b0;
  logic [3:0]  wstrb = '0;
  logic [1:0]  bresp, rresp;
  always #5 clk = !clk;

  logic            start, done, geometry_valid, geometry_bad, flush, want_logits;
  logic [3:0]      error, rd_error;
  logic [12:0]     error_at, page;
  logic [15:0]     error_round;
  logic [4:0]      error_channel;
  logic [31:0]     token, attention_scale, norm_epsilon;
  logic [63:0]     position;
  logic [10:0]     heads, kv_heads, sinks;
  logic [31:0]     ring_page, near_slot;
  logic [8:0]      head_dim, near, near_positions;
  logic [22:0]     window;
  logic [3:0]      kv_bits;
  logic [18:0]     ring_pages;
  logic [23:0]     rope;
  acc_ctrl #(.Channels(1), .Lines(Lines)) u_ctrl (
      .clk_i(clk), .rst_ni(rst_n), .axil_awvalid_i(awvalid), .axil_awready_o(awready), .axil_awaddr_i(awaddr),
      .axil_wvalid_i(wvalid), .axil_wready_o(wready), .axil_wdata_i(wdata), .axil_wstrb_i(wstrb), .axil_bvalid_o(bvalid),
      .axil_bready_i(bready), .axil_bresp_o(bresp), .axil_arvalid_i(arvalid), .axil_arready_o(arready),
      .axil_araddr_i(araddr), .axil_rvalid_o(rvalid), .axil_rready_i(rready), .axil_rdata_o(rdata), .axil_rresp_o(rresp),
      .interrupt_o(interrupt), .start_o(start), .done_i(done), .error_i(error), .error_at_i(error_at),
      .error_round_i(error_round), .error_channel_i(error_channel), .best_valid_i(best_valid),
      .best_token_i(best),
      .geometry_valid_o(geometry_valid), .geometry_bad_o(geometry_bad), .token_o(token), .position_o(position),
      .ring_page_o(ring_page), .near_slot_o(near_slot), .want_logits_o(want_logits), .heads_o(heads),
      .kv_heads_o(kv_heads), .head_dim_o(head_dim), .page_o(page), .sinks_o(sinks), .window_o(window), .near_o(near),
      .kv_bits_o(kv_bits), .ring_pages_o(ring_pages), .near_positions_o(near_positions), .rope_o(rope),
      .attention_scale_o(attention_scale), .norm_epsilon_o(norm_epsilon));

  logic         rq_valid, rq_ready, rd_valid, rd_ready, rd_idle, rd_wedged;
  logic [23:0]  rq_line;
  logic [15:0]  rq_count;
  logic [511:0] rd_data;
  logic [2:0]   cmd_valid, cmd_ready = '0, unit_done = '0;
  logic [383:0] cmd;
  logic [11:0]  unit_error = '0, drawn_error;
  logic [14:0]  unit_channel = '0, drawn_channel;
  acc_seq #(.Channels(1), .Lines(Lines)) u_seq (
      .clk_i(clk), .rst_ni(rst_n), .start_i(start), .done_o(done), .logits_i(want_logits),
      .geometry_valid_i(geometry_valid), .geometry_bad_i(geometry_bad), .rq_valid_o(rq_valid), .rq_ready_i(rq_ready),
      .rq_line_o(rq_line), .rq_count_o(rq_count), .rd_valid_i(rd_valid), .rd_ready_o(rd_ready), .rd_data_i(rd_data),
      .cmd_valid_o(cmd_valid), .cmd_ready_i(cmd_ready), .cmd_o(cmd), .done_i(unit_done), .error_i(unit_error),
      .error_channel_i(unit_channel), .port_error_i({4'd0, rd_error}), .port_idle_i({1'b1, rd_idle}),
      .port_wedged_i({1'b0, rd_wedged}), .flush_o(flush), .error_o(error), .error_at_o(error_at),
      .error_round_o(error_round), .error_channel_o(error_channel));

  logic         m_arvalid, m_arready, m_arid, m_rvalid, m_rready, m_rid, m_rlast;
  logic [63:0]  m_araddr;
  logic [7:0]   m_arlen;
  logic [2:0]   m_arsize;
  logic [1:0]   m_arburst, m_rresp;
  logic [511:0] m_rdata;
  acc_axi_rd #(.Timeout(Timeout)) u_rd (
      .clk_i(clk), .rst_ni(rst_n), .base_i(64'd0), .lines_i(24'(Lines)), .flush_i(flush), .rq_valid_i(rq_valid),
      .rq_ready_o(rq_ready), .rq_line_i(rq_line), .rq_count_i(rq_count), .rd_valid_o(rd_valid), .rd_ready_i(rd_ready),
      .rd_data_o(rd_data), .idle_o(rd_idle), .error_o(rd_error), .wedged_o(rd_wedged), .axi_arvalid_o(m_arvalid),
      .axi_arready_i(m_arready), .axi_arid_o(m_arid), .axi_araddr_o(m_araddr), .axi_arlen_o(m_arlen),
      .axi_arsize_o(m_arsize), .axi_arburst_o(m_arburst), .axi_rvalid_i(m_rvalid), .axi_rready_o(m_rready),
      .axi_rid_i(m_rid), .axi_rdata_i(m_rdata), .axi_rresp_i(m_rresp), .axi_rlast_i(m_rlast));
  axi_memory #(.Lines(Lines)) u_memory (
      .clk_i(clk), .rst_ni(rst_n), .base_i(64'd0), .stall_i(stall), .latency_i(latency), .fault_i(fault),
      .arvalid_i(m_arvalid), .arready_o(m_arready), .arid_i(m_arid), .araddr_i(m_araddr), .arlen_i(m_arlen),
      .arsize_i(m_arsize), .arburst_i(m_arburst), .rvalid_o(m_rvalid), .rready_i(m_rready), .rid_o(m_rid),
      .rdata_o(m_rdata), .rresp_o(m_rresp), .rlast_o(m_rlast), .awvalid_i(1'b0), .awready_o(), .awid_i(1'b0),
      .awaddr_i('0), .awlen_i('0), .awsize_i('0), .awburst_i('0), .wvalid_i(1'b0), .wready_o(), .wdata_i('0),
      .wstrb_i('0), .wlast_i(1'b0), .bvalid_o(), .bready_i(1'b1), .bid_o(), .bresp_o(), .reads_o(), .writes_o());

  logic [4:0] broken;
  for (genvar q = 0; q < 3; q++) begin : gen_rules
    stream_rules #(.Width(128)) u_rules (.clk_i(clk), .rst_ni(rst_n && !flush), .valid_i(cmd_valid[q]),
                                         .ready_i(cmd_ready[q]), .data_i(cmd[q*128 +: 128]), .broken_o(broken[q]));
  end
  stream_rules #(.Width(2)) u_b_rules (.clk_i(clk), .rst_ni(rst_n), .valid_i(bvalid), .ready_i(bready), .data_i(bresp),
                                       .broken_o(broken[3]));
  stream_rules #(.Width(34)) u_r_rules (.clk_i(clk), .rst_ni(rst_n), .valid_i(rvalid), .ready_i(rready),
                                        .data_i({rdata, rresp}), .broken_o(broken[4]));
  int owed_writes = 0, owed_reads = 0;  // answers of the register bus
  always @(posedge clk) begin
    if (broken != '0) $fatal(1, "a stream was not held: %b", broken);
    if (rst_n && ((bvalid && owed_writes == 0) || (rvalid && owed_reads == 0))) $fatal(1, "an answer to nothing");
    owed_writes = rst_n ? owed_writes + int'(awvalid && awready) - int'(bvalid && bready) : 0;
    owed_reads  = rst_n ? owed_reads + int'(arvalid && arready) - int'(rvalid && rready) : 0;
  end

  // ---- the units, and the library's sequencer beside them ----

  int         timer [0:2], longest = 10, failures = 0, begun = 0, want_error, want_at, want_round, want_channel, over;
  logic [2:0] running = '0, drawn_ready;
  int         pcs [0:2], rounds [0:2];
  logic       decided = 1'b0;  // want_error and the rest say how the run must end
  function automatic logic unit_draws(input int of_eight);
    unit_draws = int'(tb_pkg::random(unit_seed) % 8) < of_eight;
  endfunction
  initial forever begin
    @(negedge clk);
    unit_done   = '0;
    drawn_ready = '0;
    if (!rst_n || flush) running = '0;
    for (int q = 0; q < 3; q++) begin
      drawn_error[q*4 +: 4]   = 4'(tb_pkg::random(unit_seed));
      drawn_channel[q*5 +: 5] = 5'(tb_pkg::random(unit_seed));
      drawn_ready[q]          = !running[q] && unit_draws(5);
      if (!running[q]) continue;
      timer[q]--;
      if (timer[q] >= 0) continue;
      unit_done[q] = 1'b1;
      if (failures == 0 || tb_pkg::random(unit_seed) % 8 != 0) drawn_error[q*4 +: 4] = '0;
    end
    cmd_ready    = drawn_ready;
    unit_error   = drawn_error;
    unit_channel = drawn_channel;
    #1;
    for (int q = 0; q < 3; q++) begin
      if (running[q] && cmd_valid[q]) $fatal(1, "queue %0d: another instruction before the first is done", q);
      if (!cmd_valid[q] || !cmd_ready[q]) continue;
      if (golden_seq_ready(q) == 0) $fatal(1, "queue %0d: nothing may begin", q);
      for (int k = 0; k < 4; k++)
        if (int'(cmd[q*128 + k*32 +: 32]) != golden_seq_word(k))
          $fatal(1, "queue %0d, instruction %0d, round %0d: %h", q, golden_seq_pc(), golden_seq_round(),
                 cmd[q*128 +: 128]);
      pcs[q]     = golden_seq_pc();
      rounds[q]  = golden_seq_round();
      timer[q]   = int'(tb_pkg::random(unit_seed) % 32'(longest));
      running[q] = 1'b1;
      begun++;
    end
    if (unit_done != '0) begin
      running &= ~unit_done;
      over = 0;
      for (int q = 0; q < 3; q++) if (unit_done[q] && unit_error[q*4 +: 4] != '0) over |= 1 << q;
      if (over != 0) begin
        for (int q = 0; q < 3; q++) if (over[q]) begin
          want_error   = int'(unit_error[q*4 +: 4]);
          want_channel = int'(unit_channel[q*5 +: 5]);
          want_at      = pcs[q];
          want_round   = rounds[q];
        end
        decided = 1'b1;
      end else begin
        over = golden_seq_retire(int'(unit_done));
        for (int q = 0; q < 3; q++) if (over[q]) begin
          want_error   = int'(acc_pkg::ErrorBadField);
          want_channel = 0;
          want_at      = pcs[q];
          want_round   = rounds[q];
          decided      = 1'b1;
        end
      end
    end
  end

  // ---- the register bus ----

  function automatic logic go();
    go = tb_pkg::random(seed) % 2 == 0;
  endfunction
  task automatic set_bytes(input logic [7:0] address, input logic [31:0] value, input logic [3:0] strobes);
    logic aw, w;
    {aw, w} = 2'b00;
    awaddr = address;
    wdata  = value;
    wstrb  = strobes;
    while (!(aw && w)) begin
      awvalid = !aw && (awvalid || go());
      wvalid  = !w && (wvalid || go());
      #1;
      aw |= awvalid && awready;
      w  |= wvalid && wready;
      @(negedge clk);
      if (aw) awvalid = 1'b0;
      if (w) wvalid = 1'b0;
    end
    while (!(bvalid && bready)) begin
      @(negedge clk);
      bready = go();
      #1;
    end
    if (bresp != '0) $fatal(1, "a write of register %h was refused", address);
    @(negedge clk);
    bready = 1'b0;
  endtask
  task automatic set(input logic [7:0] address, input logic [31:0] value);
    set_bytes(address, value, 4'hf);
  endtask
  task automatic get(input logic [7:0] address, output logic [31:0] value);
    araddr  = address;
    arvalid = 1'b1;
    #1;
    while (!arready) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk);
    arvalid = 1'b0;
    rready  = 1'b0;
    #1;
    while (!(rvalid && rready)) begin
      @(negedge clk);
      rready = go();
      #1;
    end
    value = rdata;
    if (rresp != '0) $fatal(1, "a read of register %h was refused", address);
    @(negedge clk);
    rready = 1'b0;
  endtask
  task automatic expect_of(input logic [7:0] address, input logic [31:0] want);
    logic [31:0] value;
    get(address, value);
    if (value != want) $fatal(1, "register %h: %h, not %h", address, value, want);
  endtask

  // ---- runs ----

  task automatic load(input int kind, input int program_seed);
    logic [511:0] line;
    golden_program_open(kind, program_seed);
    for (int i = 0; i < int'(Lines); i++) begin
      for (int k = 0; k < 16; k++) line[k*32 +: 32] = golden_program_word(4*i + k/4, k % 4);
      u_memory.mem[i] = line;
    end
  endtask
  task automatic start_run(input int logits);
    set(acc_pkg::RegWantLogits, logits);
    golden_seq_start(logits);
    decided = 1'b0;
    set(acc_pkg::RegControl, 32'd1);
  endtask
  task automatic expect_error(input int code, input int at, input int round, input int channel);
    expect_of(acc_pkg::RegError, code);
    expect_of(acc_pkg::RegErrorAt, at);
    expect_of(acc_pkg::RegErrorRound, round);
    expect_of(acc_pkg::RegErrorChannel, channel);
  endtask

  // Until the interrupt; a program that goes on for too long is ended by a reset.
  int ends [0:15];  // by error; 15: reset
  task automatic finish(output logic ended);
    int cycles;
    cycles = 0;
    while (!interrupt && cycles < 6000) begin
      @(negedge clk);
      cycles++;
    end
    ended = interrupt;
    if (ended) begin
      expect_of(acc_pkg::RegIrqStatus, 32'd1);
      set(acc_pkg::RegIrqStatus, 32'd1);
      if (interrupt) $fatal(1, "the interrupt stays");
      expect_of(acc_pkg::RegIrqStatus, 32'd0);
      expect_of(acc_pkg::RegControl, 32'd14);
      expect_of(acc_pkg::RegControl, 32'd4);
    end
  endtask
  task automatic reset();
    rst_n = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int a = int'(acc_pkg::RegToken); a <= int'(acc_pkg::RegNormEpsilon); a += 4) expect_of(8'(a), 32'd0);
    for (int i = 0; i < 2; i++) begin  // off, then on
      expect_of(acc_pkg::RegIrqGlobal, i);
      expect_of(acc_pkg::RegIrqEnable, i);
      set(acc_pkg::RegIrqGlobal, 32'd1);
      set(acc_pkg::RegIrqEnable, 32'd1);
    end
    set(acc_pkg::RegHeads, 32'd4);
    set(acc_pkg::RegKvHeads, 32'd2);
    set(acc_pkg::RegHeadDim, 32'd64);
    set(acc_pkg::RegPage, 32'd16);
    set(acc_pkg::RegSinks, 32'd4);
    set(acc_pkg::RegWindow, 32'd64);
    set(acc_pkg::RegNear, 32'd16);
    set(acc_pkg::RegKvBits, 32'd4);
    set(acc_pkg::RegRingPages, 32'd8);
    set(acc_pkg::RegNearPositions, 32'd48);
  endtask
  task automatic check_end(input int program_seed);
    int code;
    code = 0;
    if (decided) begin
      expect_error(want_error, want_at, want_round, want_channel);
      code = want_error;
    end else if (golden_seq_done() != 0) begin
      code = golden_seq_refused();
      expect_error(code, code == 0 ? 0 : golden_seq_pc(), code == 0 ? 0 : golden_seq_round(), 0);
    end else if (golden_seq_stuck() != 0) begin
      code = int'(acc_pkg::ErrorDeadlock);
      expect_error(code, golden_seq_pc(), golden_seq_round(), 0);
    end else $fatal(1, "program %0d: the run ends early, error %0d", program_seed, error);
    ends[code]++;
  endtask
  task automatic run_programs(input int n);
    logic ended;
    for (int i = 0; i < n; i++) begin
      stall    = i % 3 * 2;
      latency  = i % 5 * 8;
      longest  = i % 2 == 0 ? 4 : 40;
      failures = i % 8 == 7 && i < 400 ? 1 : 0;
      load(i < 400 ? i % 5 : 5, i + 1);
      start_run(i / 5 % 3 == 0 ? 0 : 1);
      finish(ended);
      if (ended) check_end(i + 1);
      else begin
        ends[15]++;
        reset();
      end
    end
  endtask

  // ---- registers ----

  task automatic registers();
    logic [31:0] value;
    for (int a = int'(acc_pkg::RegToken); a <= int'(acc_pkg::RegNormEpsilon); a += 4) set(8'(a), 32'(a) * 32'h9e3779b1);
    for (int a = int'(acc_pkg::RegToken); a <= int'(acc_pkg::RegNormEpsilon); a += 4)
      expect_of(8'(a), 32'(a) * 32'h9e3779b1);
    if (token != 32'h10 * 32'h9e3779b1 || position != {32'h18 * 32'h9e3779b1, 32'h14 * 32'h9e3779b1} ||
        ring_page != 32'h1c * 32'h9e3779b1 || near_slot != 32'h20 * 32'h9e3779b1 || !want_logits ||
        heads != 11'(32'h28 * 32'h9e3779b1) || kv_heads != 11'(32'h2c * 32'h9e3779b1) ||
        head_dim != 9'(32'h30 * 32'h9e3779b1) || page != 13'(32'h34 * 32'h9e3779b1) ||
        sinks != 11'(32'h38 * 32'h9e3779b1) || window != 23'(32'h3c * 32'h9e3779b1) ||
        near != 9'(32'h40 * 32'h9e3779b1) || kv_bits != 4'(32'h44 * 32'h9e3779b1) ||
        ring_pages != 19'(32'h48 * 32'h9e3779b1) || near_positions != 9'(32'h4c * 32'h9e3779b1) ||
        rope != 24'(32'h50 * 32'h9e3779b1) || attention_scale != 32'h54 * 32'h9e3779b1 ||
        norm_epsilon != 32'h58 * 32'h9e3779b1) $fatal(1, "an argument is not what its register holds");
    set_bytes(acc_pkg::RegToken, 32'h12345678, 4'b0101);
    value = 32'h10 * 32'h9e3779b1;
    expect_of(acc_pkg::RegToken, {value[31:24], 8'h34, value[15:8], 8'h78});
    set(acc_pkg::RegWantLogits, 32'd0);
    if (want_logits) $fatal(1, "logits are wanted");
    expect_of(acc_pkg::RegCapMagic, 32'h4c434341);
    expect_of(acc_pkg::RegCapVersion, acc_pkg::Version);
    expect_of(acc_pkg::RegCapChannels, 32'd1);
    expect_of(acc_pkg::RegCapLanes, acc_pkg::Lanes);
    expect_of(acc_pkg::RegCapTokens, acc_pkg::Tokens);
    expect_of(acc_pkg::RegCapLines, Lines);
    expect_of(acc_pkg::RegBestToken, 32'd0);  // before the first
    @(negedge clk) best_valid = 1'b1;
    @(negedge clk) {best_valid, best} = {1'b0, 32'd4712};
    expect_of(acc_pkg::RegBestToken, 32'd4711);
    set(acc_pkg::RegCapMagic, 32'd0);
    set(8'hfc, 32'hffffffff);
    set(8'h11, 32'hffffffff);  // not a word
    expect_of(acc_pkg::RegCapMagic, 32'h4c434341);
    expect_of(8'hfc, 32'd0);
    expect_of(8'h5c, 32'd0);
    expect_of(acc_pkg::RegControl, 32'd4);
    set_bytes(acc_pkg::RegControl, 32'h1, 4'b1110);  // without the byte of the start bit
    expect_of(acc_pkg::RegControl, 32'd4);
  endtask

  // ---- geometry ----

  logic        check = 1'b0, check_valid, check_bad;
  logic [9:0][31:0] g = '0, d;  // d: ports are written whole, or Verilator misses a change
  acc_geometry u_geometry (.clk_i(clk), .rst_ni(rst_n), .start_i(check), .heads_i(g[0]), .kv_heads_i(g[1]),
                           .head_dim_i(g[2]), .sinks_i(g[3]), .window_i(g[4]), .page_i(g[5]), .kv_bits_i(g[6]),
                           .near_i(g[7]), .ring_pages_i(g[8]), .near_positions_i(g[9]), .valid_o(check_valid),
                           .bad_o(check_bad));
  function automatic logic [31:0] below(input int n);
    below = tb_pkg::random(seed) % 32'(n);
  endfunction
  int good = 0, refused = 0;
  task automatic geometries(input int n);
    int cycles;
    logic bad;
    for (int i = 0; i < n; i++) begin
      d[1] = 1 + below(i % 2 == 0 ? 8 : 40);
      d[0] = d[1] * (1 + below(10));
      d[2] = 2 * (1 + below(128));
      d[5] = 32'd16 << below(9);
      d[6] = i % 3 == 0 ? 8 : 4;
      d[3] = below(1025);
      d[4] = 1 + below(i % 4 == 0 ? 300000 : 24000);
      d[8] = (d[4] + d[5] - 1) / d[5] + 1 + below(3) - (i % 5 == 0 ? 1 : 0);
      d[7] = d[6] == 4 ? below(258) : 0;
      d[9] = d[7] == 0 ? 0 : (d[7] + 15) / 16 * 16 + 16 * below(4);
      if (i % 4 == 1) d[below(10)] += below(3) - 1;
      if (i % 4 == 2) d[below(10)] = below(2) == 0 ? below(5000) : 32'd1 << below(32);
      if (i % 16 == 3) d[below(10)] ^= 32'd1 << below(32);
      if (i % 16 == 7) {d[5], d[8]} = {32'd4096, 32'd1024 << below(9)};
      g = d;
      @(negedge clk) check = 1'b1;
      @(negedge clk) check = 1'b0;
      cycles = 1;
      while (!check_valid) begin
        @(negedge clk);
        cycles++;
      end
      bad = golden_geometry_bad(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9]) != 0;
      if (check_bad != bad)
        $fatal(1, "geometry %0d %0d %0d %0d %0d %0d %0d %0d %0d %0d: bad %0d", g[0], g[1], g[2], g[3], g[4], g[5], g[6],
               g[7], g[8], g[9], check_bad);
      if (cycles != 12) $fatal(1, "the geometry's check takes %0d cycles", cycles);
      if (bad) refused++; else good++;
    end
  endtask

  // ---- all of it ----

  logic ended;
  initial begin
    done_o = 1'b0;
    for (int i = 0; i < 16; i++) ends[i] = 0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    registers();
    reset();
    run_programs(412);
    // A geometry that the hardware cannot do ends the run at the cache's first instruction, and only there.
    failures = 0;
    set(acc_pkg::RegHeads, 32'd5);
    for (int i = 0; i < 12; i++) begin
      load(0, 1000 + i);
      start_run(1);
      finish(ended);
      if (!ended) $fatal(1, "a good program does not end");
      if (golden_seq_done() == 0) begin
        if (golden_seq_ready(int'(acc_pkg::QueueCache)) == 0) $fatal(1, "the cache's instruction is not ready");
        expect_error(int'(acc_pkg::ErrorBadField), golden_seq_pc(), golden_seq_round(), 0);
      end else check_end(1000 + i);
    end
    set(acc_pkg::RegHeads, 32'd4);
    // A memory that errs, and one that is wedged: until it answers, every run ends in the time-out.
    {stall, latency} = '0;
    load(0, 2000);
    fault = 1;
    start_run(1);
    finish(ended);
    expect_error(int'(acc_pkg::ErrorMemory), 0, 0, 0);
    fault = 2;
    start_run(1);
    set(acc_pkg::RegToken, 32'd99);  // arguments stand during a run
    set(acc_pkg::RegControl, 32'd1);
    expect_of(acc_pkg::RegControl, 32'd1);
    expect_of(acc_pkg::RegToken, 32'd0);
    finish(ended);
    expect_error(int'(acc_pkg::ErrorTimeout), 0, 0, 0);
    if (!flush) $fatal(1, "the flush ends although answers are due");
    start_run(1);
    finish(ended);
    expect_error(int'(acc_pkg::ErrorTimeout), 0, 0, 0);
    fault = 0;
    repeat (50) @(negedge clk);
    if (flush) $fatal(1, "the flush does not end");
    start_run(1);
    finish(ended);
    check_end(2000);
    geometries(3000);
    if (ends[0] < 50 || ends[int'(acc_pkg::ErrorBadOpcode)] < 20 || ends[int'(acc_pkg::ErrorBadField)] < 20 ||
        ends[int'(acc_pkg::ErrorDeadlock)] < 10 || begun < 2000 || good < 300 || refused < 300)
      $fatal(1, "the stimulus is too tame: %0d, %0d, %0d, %0d, %0d; %0d and %0d", ends[0],
             ends[int'(acc_pkg::ErrorBadOpcode)], ends[int'(acc_pkg::ErrorBadField)],
             ends[int'(acc_pkg::ErrorDeadlock)], begun, good, refused);
    $display("ok control: %0d instructions begun; %0d runs good, %0d bad opcodes, %0d bad fields, %0d deadlocks, %0d reset",
             begun, ends[0], ends[int'(acc_pkg::ErrorBadOpcode)], ends[int'(acc_pkg::ErrorBadField)],
             ends[int'(acc_pkg::ErrorDeadlock)], ends[15]);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
