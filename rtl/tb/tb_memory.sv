// A channel's memory side: three readers and two writers through acc_rd_mux, acc_wr_mux, acc_axi_rd and acc_axi_wr, against
// a memory that stalls by a seeded generator. Readers get their lines in order, writers leave what they wrote; unstalled
// reads keep the promised pace; a reader that takes nothing holds up no other; errors, a wedged memory, late answers, wrong
// ones and requests beyond the channel end in the right error, and work goes on after a flush.
`default_nettype none
module tb_memory (
  output logic done_o
);
  localparam int unsigned Readers = 3, Writers = 2, Lines = 4096, Timeout = 200;
  localparam logic [63:0] Base = 64'h0000_0012_3456_7000;
  logic                   clk = 1'b0, rst_n = 1'b0, flush = 1'b0;
  logic [Readers-1:0]     rq_valid = '0, rq_ready, rd_valid, rd_ready = '0, rq_taken = '0;
  logic [Readers*24-1:0]  rq_line = '0, drawn_line;  // drawn: ports are written whole, or Verilator misses a change
  logic [Readers*16-1:0]  rq_count = '0, drawn_count;
  logic [Readers*512-1:0] rd_data;
  logic [Writers-1:0]     wq_valid = '0, wq_ready, writing, wq_taken = '0;
  logic [Writers*24-1:0]  wq_line = '0, drawn_wline;
  logic [Writers*512-1:0] wq_data = '0, drawn_wdata;
  logic [Writers*64-1:0]  wq_strb = '0, drawn_wstrb;
  int                     stall = 0, latency = 40, fault = 0, seed = 7, lines_read = 0, lines_written = 0;
  logic                   shut = 1'b0;  // between acc_axi_rd and what it feeds

  always #5 clk = !clk;
  logic            m_rq_valid, m_rq_ready, m_rd_valid, m_rd_ready, m_wq_valid, m_wq_ready, rd_idle, wr_idle, rd_wedged, wr_wedged;
  logic [23:0]     m_rq_line, m_wq_line;
  logic [15:0]     m_rq_count;
  logic [511:0]    m_rd_data, m_wq_data;
  logic [63:0]     m_wq_strb;
  logic [3:0]      rd_error, wr_error;
  acc_rd_mux #(.Clients(Readers), .Depths({16'd16, 16'd64, 16'd512})) u_rd_mux (
      .clk_i(clk), .rst_ni(rst_n && !flush), .rq_valid_i(rq_valid), .rq_ready_o(rq_ready), .rq_line_i(rq_line),
      .rq_count_i(rq_count), .rd_valid_o(rd_valid), .rd_ready_i(rd_ready), .rd_data_o(rd_data), .rq_valid_o(m_rq_valid),
      .rq_ready_i(m_rq_ready), .rq_line_o(m_rq_line), .rq_count_o(m_rq_count), .rd_valid_i(m_rd_valid && !shut),
      .rd_ready_o(m_rd_ready), .rd_data_i(m_rd_data));
  acc_wr_mux #(.Clients(Writers)) u_wr_mux (
      .clk_i(clk), .rst_ni(rst_n && !flush), .wq_valid_i(wq_valid), .wq_ready_o(wq_ready), .wq_line_i(wq_line),
      .wq_data_i(wq_data), .wq_strb_i(wq_strb), .wq_valid_o(m_wq_valid), .wq_ready_i(m_wq_ready), .wq_line_o(m_wq_line),
      .wq_data_o(m_wq_data), .wq_strb_o(m_wq_strb));

  logic         arvalid, arready, arid, rvalid, rready, rid, rlast, awvalid, awready, awid, wvalid, wready, wlast, bvalid;
  logic         bready, bid;
  logic [63:0]  araddr, awaddr, wstrb;
  logic [7:0]   arlen, awlen;
  logic [2:0]   arsize, awsize;
  logic [1:0]   arburst, rresp, awburst, bresp;
  logic [511:0] rdata, wdata;
  logic [31:0]  reads, writes;
  acc_axi_rd #(.Timeout(Timeout)) u_rd (
      .clk_i(clk), .rst_ni(rst_n), .base_i(Base), .lines_i(24'(Lines)), .flush_i(flush), .rq_valid_i(m_rq_valid),
      .rq_ready_o(m_rq_ready), .rq_line_i(m_rq_line), .rq_count_i(m_rq_count), .rd_valid_o(m_rd_valid),
      .rd_ready_i(m_rd_ready && !shut), .rd_data_o(m_rd_data), .idle_o(rd_idle), .error_o(rd_error), .wedged_o(rd_wedged),
      .axi_arvalid_o(arvalid), .axi_arready_i(arready), .axi_arid_o(arid), .axi_araddr_o(araddr), .axi_arlen_o(arlen),
      .axi_arsize_o(arsize), .axi_arburst_o(arburst), .axi_rvalid_i(rvalid), .axi_rready_o(rready), .axi_rid_i(rid),
      .axi_rdata_i(rdata), .axi_rresp_i(rresp), .axi_rlast_i(rlast));
  acc_axi_wr #(.Timeout(Timeout)) u_wr (
      .clk_i(clk), .rst_ni(rst_n), .base_i(Base), .lines_i(24'(Lines)), .flush_i(flush), .wq_valid_i(m_wq_valid),
      .wq_ready_o(m_wq_ready), .wq_line_i(m_wq_line), .wq_data_i(m_wq_data), .wq_strb_i(m_wq_strb), .idle_o(wr_idle),
      .error_o(wr_error), .wedged_o(wr_wedged), .axi_awvalid_o(awvalid), .axi_awready_i(awready), .axi_awid_o(awid),
      .axi_awaddr_o(awaddr), .axi_awlen_o(awlen), .axi_awsize_o(awsize), .axi_awburst_o(awburst), .axi_wvalid_o(wvalid),
      .axi_wready_i(wready), .axi_wdata_o(wdata), .axi_wstrb_o(wstrb), .axi_wlast_o(wlast), .axi_bvalid_i(bvalid),
      .axi_bready_o(bready), .axi_bid_i(bid), .axi_bresp_i(bresp));
  axi_memory #(.Lines(Lines)) u_memory (
      .clk_i(clk), .rst_ni(rst_n), .base_i(Base), .stall_i(stall), .latency_i(latency), .fault_i(fault),
      .arvalid_i(arvalid), .arready_o(arready), .arid_i(arid), .araddr_i(araddr), .arlen_i(arlen), .arsize_i(arsize),
      .arburst_i(arburst), .rvalid_o(rvalid), .rready_i(rready), .rid_o(rid), .rdata_o(rdata), .rresp_o(rresp),
      .rlast_o(rlast), .awvalid_i(awvalid), .awready_o(awready), .awid_i(awid), .awaddr_i(awaddr), .awlen_i(awlen),
      .awsize_i(awsize), .awburst_i(awburst), .wvalid_i(wvalid), .wready_o(wready), .wdata_i(wdata), .wstrb_i(wstrb),
      .wlast_i(wlast), .bvalid_o(bvalid), .bready_i(bready), .bid_o(bid), .bresp_o(bresp), .reads_o(reads),
      .writes_o(writes));
  logic rd_broken, wq_broken;
  stream_rules #(.Width(512)) u_rd_stream (.clk_i(clk), .rst_ni(rst_n && !flush), .valid_i(rd_valid[0]),
                                           .ready_i(rd_ready[0]), .data_i(rd_data[511:0]), .broken_o(rd_broken));
  stream_rules #(.Width(600)) u_wq_stream (.clk_i(clk), .rst_ni(rst_n && !flush), .valid_i(m_wq_valid),
                                           .ready_i(m_wq_ready), .data_i({m_wq_line, m_wq_data, m_wq_strb}),
                                           .broken_o(wq_broken));
  always @(posedge clk) if (rd_broken || wq_broken) $fatal(1, "a stream was not held: %b %b", rd_broken, wq_broken);

  function automatic logic go(input int of_eight);
    go = int'(tb_pkg::random(seed) % 8) >= of_eight;
  endfunction
  function automatic logic [511:0] pattern(input int line);
    for (int k = 0; k < 16; k++) pattern[k*32 +: 32] = 32'(line * 16 + k) * 32'h9e3779b1;
  endfunction

  // Requests that were taken and not answered whole: a ring for each reader.
  int           q_line [0:Readers-1][0:63], q_count [0:Readers-1][0:63], q_head [0:Readers-1], q_n [0:Readers-1];
  int           beat [0:Readers-1], got [0:Readers-1], most_reads = 0, most_writes = 0;
  int           passed [0:Writers-1];  // writes of others while this one waits
  logic [511:0] shadow [0:Writers-1][0:255];

  task automatic clear();
    for (int c = 0; c < int'(Readers); c++) {q_head[c], q_n[c], beat[c], got[c]} = '0;
    for (int w = 0; w < int'(Writers); w++) passed[w] = 0;
    {rq_valid, rd_ready, wq_valid, rq_taken, wq_taken} = '0;
  endtask

  // One cycle: `wants` may ask for the request in rq_line and rq_count, `takes` may take lines.
  task automatic cycle(input logic [Readers-1:0] wants, input logic [Readers-1:0] takes);
    rq_valid = wants;
    rd_ready = takes;
    #1;
    rq_taken = rq_valid & rq_ready;
    wq_taken = wq_valid & wq_ready;
    for (int w = 0; w < int'(Writers); w++) begin
      passed[w] = !wq_valid[w] || wq_taken[w] ? 0 : passed[w] + int'(wq_taken != '0);
      if (passed[w] >= int'(Writers)) $fatal(1, "writer %0d waits for %0d writes of others", w, passed[w]);
    end
    for (int c = 0; c < int'(Readers); c++) begin
      if (rd_valid[c] && rd_ready[c]) begin
        if (q_n[c] == 0) $fatal(1, "reader %0d: a line that it did not ask for", c);
        if (rd_data[c*512 +: 512] != pattern(q_line[c][q_head[c]] + beat[c]))
          $fatal(1, "reader %0d, line %0d: %h", c, q_line[c][q_head[c]] + beat[c], rd_data[c*512 +: 512]);
        beat[c]++;
        got[c]++;
        lines_read++;
        if (beat[c] == q_count[c][q_head[c]]) begin
          beat[c]   = 0;
          q_head[c] = (q_head[c] + 1) % 64;
          q_n[c]--;
        end
      end
      if (rq_taken[c] && rq_count[c*16 +: 16] != 0) begin
        q_line[c][(q_head[c] + q_n[c]) % 64]  = int'(rq_line[c*24 +: 24]);
        q_count[c][(q_head[c] + q_n[c]) % 64] = int'(rq_count[c*16 +: 16]);
        q_n[c]++;
      end
    end
    if (int'(reads) > most_reads) most_reads = int'(reads);
    if (int'(writes) > most_writes) most_writes = int'(writes);
    @(negedge clk);
  endtask

  task automatic request(input int line, input int count);  // of every reader that is asked to want one
    for (int c = 0; c < int'(Readers); c++) begin
      drawn_line[c*24 +: 24]  = 24'(line);
      drawn_count[c*16 +: 16] = 16'(count);
    end
    rq_line  = drawn_line;
    rq_count = drawn_count;
  endtask

  // Readers of lines 0..2047 and writers of 256 lines each above them.
  task automatic traffic(input int cycles, input int slow);
    logic [Readers-1:0] wants, takes;
    int at, count, quiet;
    wants = '0;
    writing = '0;
    quiet = 0;
    stall = slow;
    for (int i = 0; quiet < 4; i++) begin
      for (int c = 0; c < int'(Readers); c++) begin
        takes[c] = go(i / 300 % int'(Readers) == c ? 6 : slow);
        if (wants[c] && !rq_taken[c]) continue;  // offered until taken
        wants[c] = i < cycles && q_n[c] < 32 && go(c == 0 ? 7 : 5);
        count = int'(tb_pkg::random(seed) % (c == 0 ? 120 : 20));
        at = int'(tb_pkg::random(seed) % 32'(2048 - count));
        drawn_line[c*24 +: 24]  = 24'(at);
        drawn_count[c*16 +: 16] = 16'(count);
      end
      rq_line  = drawn_line;
      rq_count = drawn_count;
      for (int w = 0; w < int'(Writers); w++) begin
        if (writing[w] && wq_taken[w]) begin
          for (int b = 0; b < 64; b++)
            if (wq_strb[w*64 + b]) shadow[w][wq_line[w*24 +: 8]][b*8 +: 8] = wq_data[w*512 + b*8 +: 8];
          lines_written++;
        end
        if (writing[w] && !wq_taken[w]) continue;
        writing[w] = i < cycles && go(w == 0 ? slow : 6);
        drawn_wline[w*24 +: 24] = 24'(2048 + 256 * w) + 24'(tb_pkg::random(seed) % 256);
        for (int k = 0; k < 16; k++) drawn_wdata[w*512 + k*32 +: 32] = tb_pkg::random(seed);
        for (int k = 0; k < 2; k++) drawn_wstrb[w*64 + k*32 +: 32] = go(4) ? '1 : tb_pkg::random(seed);
      end
      wq_valid = writing;
      wq_line  = drawn_wline;
      wq_data  = drawn_wdata;
      wq_strb  = drawn_wstrb;
      cycle(wants, takes);
      quiet = wants == '0 && writing == '0 && q_n[0] + q_n[1] + q_n[2] == 0 && rd_idle && wr_idle ? quiet + 1 : 0;
      if (i > 100 * cycles) $fatal(1, "stands still: %0d, %0d, %0d requests", q_n[0], q_n[1], q_n[2]);
    end
    for (int w = 0; w < int'(Writers); w++)
      for (int i = 0; i < 256; i++)
        if (u_memory.mem[2048 + 256*w + i] != shadow[w][i]) $fatal(1, "writer %0d, line %0d", w, i);
    if ({rd_error, wr_error} != '0) $fatal(1, "errors %0d and %0d", rd_error, wr_error);
  endtask

  // Reader 0 asks for n lines at `line`, unstalled; the cycles until it has them.
  task automatic fetch(input int line, input int n, output int cycles);
    int start;
    request(line, n);
    start = got[0];
    cycles = 0;
    while (got[0] < start + n) begin
      cycle(cycles == 0 ? 3'b001 : 3'b000, 3'b001);
      cycles++;
      if (cycles > 100000) $fatal(1, "%0d lines of %0d", got[0] - start, n);
    end
  endtask

  // Until both masters are idle and free of errors; lines that come are nobody's.
  task automatic flush_all(input logic must_end);
    int cycles;
    flush = 1'b1;
    clear();
    cycles = 0;
    while (cycles < 4 || (must_end && !(rd_idle && wr_idle && {rd_error, wr_error} == '0))) begin
      @(negedge clk);
      cycles++;
      if (cycles > 4000) $fatal(1, "the flush does not end: errors %0d and %0d", rd_error, wr_error);
    end
    if (must_end) flush = 1'b0;
  endtask

  // A fault during 200 lines of reading and some of writing: its error within the time-out and the memory's latency.
  task automatic fault_in_reading(input int kind, input acc_pkg::error_e want);
    int cycles;
    request(100, 200);
    fault = kind;
    cycles = 0;
    rd_ready = '1;
    while (rd_error == acc_pkg::ErrorNone) begin
      rq_valid = cycles == 0 ? 3'b001 : 3'b000;
      @(negedge clk);
      cycles++;
      if (cycles > Timeout + 2 * latency + 30) $fatal(1, "fault %0d: no error", kind);
    end
    if (rd_error != want) $fatal(1, "fault %0d: error %0d, not %0d", kind, rd_error, want);
    if (rd_wedged != (want == acc_pkg::ErrorTimeout)) $fatal(1, "fault %0d: wedged %0d", kind, rd_wedged);
  endtask
  task automatic fault_in_writing(input int kind, input int line, input acc_pkg::error_e want);
    int cycles;
    fault = kind;
    cycles = 0;
    while (wr_error == acc_pkg::ErrorNone) begin
      wq_line  = {24'd0, 24'(line)};
      wq_valid = {1'b0, kind != 4};
      @(negedge clk);
      cycles++;
      if (cycles > Timeout + 2 * latency + 30) $fatal(1, "fault %0d of writing: no error", kind);
    end
    if (wr_error != want) $fatal(1, "fault %0d of writing: error %0d, not %0d", kind, wr_error, want);
    if (wr_wedged != (want == acc_pkg::ErrorTimeout)) $fatal(1, "fault %0d of writing: wedged %0d", kind, wr_wedged);
  endtask

  int cycles;
  initial begin
    done_o = 1'b0;
    for (int i = 0; i < Lines; i++) u_memory.mem[i] = pattern(i);
    for (int w = 0; w < int'(Writers); w++) for (int i = 0; i < 256; i++) shadow[w][i] = pattern(2048 + 256*w + i);
    clear();
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 8; i++) traffic(3000, i % 4 * 2);
    stall   = 0;
    latency = 40;
    // Pace: 6 cycles on the way there and back, then a line a cycle, at any alignment.
    fetch(5, 1, cycles);
    if (cycles > latency + latency / 8 + 9) $fatal(1, "a line in %0d cycles", cycles);
    fetch(7, 2000, cycles);
    if (cycles > 2000 + latency + latency / 8 + 9) $fatal(1, "2000 lines in %0d cycles", cycles);
    if (most_reads < 16 || most_writes < 16) $fatal(1, "only %0d reads, %0d writes under way", most_reads, most_writes);
    // A reader that takes nothing.
    request(0, 2000);
    cycle(3'b001, 3'b000);
    repeat (1000) cycle(3'b000, 3'b000);
    request(9, 64);
    cycles = got[2];
    cycle(3'b100, 3'b100);
    repeat (64 + 5 * (latency + latency / 8 + 9)) cycle(3'b000, 3'b100);
    if (got[2] != cycles + 64) $fatal(1, "reader 2 was held up: %0d lines", got[2] - cycles);
    request(0, 20);
    shut = 1'b1;
    cycle(3'b010, 3'b010);
    repeat (2 * Timeout) cycle(3'b000, 3'b010);
    shut = 1'b0;
    if ({rd_error, rd_wedged} != '0) $fatal(1, "a slow reader looks like a wedged memory");
    flush_all(1'b1);
    // Faults; after each, reading and writing work again.
    for (int i = 0; i < 3; i++) begin
      stall = i * 2;
      fault_in_reading(1, acc_pkg::ErrorMemory);
      fault = 0;
      flush_all(1'b1);
      fault_in_writing(1, 3000, acc_pkg::ErrorMemory);
      fault = 0;
      flush_all(1'b1);
      fault_in_reading(2, acc_pkg::ErrorTimeout);
      flush_all(1'b0);
      if (rd_idle || rd_error != acc_pkg::ErrorTimeout) $fatal(1, "idle although answers are due");
      fault = 0;  // they come late
      flush_all(1'b1);
      fault_in_writing(2, 3000, acc_pkg::ErrorTimeout);
      flush_all(1'b0);
      if (wr_idle || wr_error != acc_pkg::ErrorTimeout) $fatal(1, "idle although answers are due");
      fault = 0;
      flush_all(1'b1);
      fault_in_writing(0, Lines, acc_pkg::ErrorBadAddress);  // nothing of it reaches the memory, or that fails
      flush_all(1'b1);
      request(Lines - 10, 11);
      cycle(3'b010, 3'b000);
      repeat (20) cycle(3'b000, 3'b000);
      if (rd_error != acc_pkg::ErrorBadAddress) $fatal(1, "a request beyond the channel: error %0d", rd_error);
      flush_all(1'b1);
      request(Lines - 10, 10);
      cycle(3'b010, 3'b010);
      repeat (300) cycle(3'b000, 3'b010);
      if (got[1] != 10 || rd_error != acc_pkg::ErrorNone) $fatal(1, "the last lines: %0d, error %0d", got[1], rd_error);
      for (int w = 0; w < int'(Writers); w++) for (int k = 0; k < 256; k++) shadow[w][k] = u_memory.mem[2048 + 256*w + k];
      clear();
      traffic(300, 2);
    end
    stall = 0;
    fault_in_reading(3, acc_pkg::ErrorMemory);
    fault = 0;
    flush_all(1'b1);
    fault = 4;
    repeat (4) @(negedge clk);
    if (rd_error != acc_pkg::ErrorMemory || wr_error != acc_pkg::ErrorMemory)
      $fatal(1, "answers to nothing: errors %0d and %0d", rd_error, wr_error);
    $display("ok memory: %0d lines read, %0d written, %0d and %0d bursts under way", lines_read, lines_written, most_reads,
             most_writes);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
