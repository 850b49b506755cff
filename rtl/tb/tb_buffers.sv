// The vector memory under three clients, of which one is acc_rows: reads in order two cycles later, the lowest client
// first, masked writes, all against a plain array. Rows into it, added to it, and as lines to 1, 2 and 4 channels. Codes
// written and played. Ports are stalled by a seeded generator.
`default_nettype none
module tb_buffers (
  output logic done_o
);
  logic [3:0] done;
  tb_codes u_codes (.done_o(done[3]));
  tb_rows #(.Channels(1)) u_one (.done_o(done[0]));
  tb_rows #(.Channels(2)) u_two (.done_o(done[1]));
  tb_rows #(.Channels(4)) u_four (.done_o(done[2]));
  initial begin
    done_o = 1'b0;
    wait (done == 4'b1111);
    $display("ok buffers: vector memory, rows to 1, 2 and 4 channels, codes");
    done_o = 1'b1;
  end
endmodule

module tb_rows #(
  parameter int unsigned Channels = 1
) (
  output logic done_o
);
  import "DPI-C" function int golden_add(input int a, input int b);
  localparam int unsigned Words = acc_pkg::VmemBlocks * 4, LineW = 24;
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels);

  logic                clk = 1'b0, rst_n = 1'b0, clear = 1'b0, in_valid = 1'b0, in_ready, busy, bad;
  acc_pkg::target_e    target = acc_pkg::TargetVmem;
  logic [LineW-1:0]    dst = '0, wq_line;
  logic [1:0]          step = 2'd1;
  logic [127:0]        in_data = '0;
  logic [15:0]         in_block = '0;
  logic [3:0]          in_beat = '0;
  logic [4:0]          bad_channel;
  logic [2:0]          r_valid, r_ready, q_valid, w_valid, w_ready;
  logic [35:0]         r_addr, w_addr;
  logic [511:0]        q_data, wq_data;
  logic [3*512-1:0]    w_data;
  logic [47:0]         w_mask;
  logic                wq_valid, wq_ready = 1'b0;
  logic [ChannelW-1:0] wq_channel;
  logic [63:0]         wq_strb;
  int                  seed = 71 + int'(Channels), contests = 0, held = 0;

  // The bench is clients 0 and 2.
  logic [1:0]   own_r = '0, own_w = '0;
  logic [23:0]  own_r_addr = '0, own_w_addr = '0;
  logic [1023:0] own_data = '0;
  logic [31:0]  own_mask = '0;
  logic         rows_r, rows_w;
  logic [11:0]  rows_r_addr, rows_w_addr;
  logic [511:0] rows_data;
  logic [15:0]  rows_mask;
  assign r_valid = {own_r[1], rows_r, own_r[0]};
  assign w_valid = {own_w[1], rows_w, own_w[0]};
  assign r_addr  = {own_r_addr[23:12], rows_r_addr, own_r_addr[11:0]};
  assign w_addr  = {own_w_addr[23:12], rows_w_addr, own_w_addr[11:0]};
  assign w_data  = {own_data[1023:512], rows_data, own_data[511:0]};
  assign w_mask  = {own_mask[31:16], rows_mask, own_mask[15:0]};

  always #5 clk = !clk;
  acc_vmem #(.Clients(3)) u_vmem (.clk_i(clk), .rst_ni(rst_n), .r_valid_i(r_valid), .r_ready_o(r_ready), .r_addr_i(r_addr),
                                  .q_valid_o(q_valid), .q_data_o(q_data), .w_valid_i(w_valid), .w_ready_o(w_ready),
                                  .w_addr_i(w_addr), .w_data_i(w_data), .w_mask_i(w_mask));
  acc_rows #(.Channels(Channels), .LineW(LineW)) u_rows (
      .clk_i(clk), .rst_ni(rst_n), .clear_i(clear), .target_i(target), .dst_i(dst), .step_i(step), .in_valid_i(in_valid),
      .in_ready_o(in_ready), .in_data_i(in_data), .in_block_i(in_block), .in_beat_i(in_beat), .busy_o(busy), .bad_o(bad),
      .bad_channel_o(bad_channel), .r_valid_o(rows_r), .r_ready_i(r_ready[1]), .r_addr_o(rows_r_addr),
      .q_valid_i(q_valid[1]), .q_data_i(q_data), .w_valid_o(rows_w), .w_ready_i(w_ready[1]), .w_addr_o(rows_w_addr),
      .w_data_o(rows_data), .w_mask_o(rows_mask), .wq_valid_o(wq_valid), .wq_ready_i(wq_ready),
      .wq_channel_o(wq_channel), .wq_line_o(wq_line), .wq_data_o(wq_data), .wq_strb_o(wq_strb));

  function automatic logic go(input int stall);
    go = tb_pkg::random(seed) % 8 >= stall;
  endfunction
  function automatic logic [31:0] middling();
    middling = tb_pkg::random(seed);
    middling[30:23] = 8'd110 + 8'(tb_pkg::random(seed) % 30);
  endfunction

  // The array, and what was asked for two cycles ago and one: client and word, -1 for none.
  logic [31:0]   want [0:Words*16-1];
  int            client_q [0:1];
  logic [511:0]  word_q [0:1], present;
  logic [1:0]    own_next;
  logic [1023:0] data_next;

  // A cycle of the bench's own clients and of the memory's outputs; rows' own writes are taken from its port.
  task automatic memory(input int stall);
    for (int c = 0; c < 2; c++) own_next[c] = go(8 - stall);
    own_r = own_next;
    for (int c = 0; c < 2; c++) own_next[c] = go(8 - stall);
    own_w = own_next;
    for (int k = 0; k < 32; k++) data_next[k*32 +: 32] = middling();
    own_data   = data_next;
    own_mask   = tb_pkg::random(seed);
    own_r_addr = 24'(tb_pkg::random(seed));
    own_w_addr = {2'b11, 10'(tb_pkg::random(seed)), 2'b11, 10'(tb_pkg::random(seed))};  // not where rows go
    wq_ready   = go(stall);
    #1;
    if ((rows_r && !r_ready[1]) || (rows_w && !w_ready[1]) || (wq_valid && !wq_ready)) held++;
    for (int c = 0; c < 3; c++) if (q_valid[c] != (client_q[1] == c)) $fatal(1, "an answer to client %0d", c);
    if (client_q[1] >= 0 && q_data != word_q[1]) $fatal(1, "client %0d reads %h, not %h", client_q[1], q_data, word_q[1]);
    client_q[1] = client_q[0];
    word_q[1]   = word_q[0];
    client_q[0] = r_valid[0] ? 0 : r_valid[1] ? 1 : r_valid[2] ? 2 : -1;
    if (r_ready != {r_valid[1:0] == 2'd0, !r_valid[0], 1'b1}) $fatal(1, "ready %b", r_ready);
    if (w_ready != {w_valid[1:0] == 2'd0, !w_valid[0], 1'b1}) $fatal(1, "ready %b", w_ready);
    if (w_valid[1] && w_valid != 3'b010) contests++;
    for (int c = 0; c < 3; c++) if (client_q[0] == c)
      for (int k = 0; k < 16; k++) present[k*32 +: 32] = want[int'(r_addr[c*12 +: 12]) * 16 + k];
    word_q[0] = present;
    for (int c = 0; c < 3; c++) if (w_valid[c] && w_ready[c])
      for (int k = 0; k < 16; k++) if (w_mask[c*16+k]) want[int'(w_addr[c*12 +: 12]) * 16 + k] = w_data[c*512 + k*32 +: 32];
  endtask

  logic [31:0]  rows [0:64*16-1], there [0:64*16-1], expected, got;
  logic [127:0] beat_next;
  task automatic layer(input acc_pkg::target_e to, input int blocks, input int stall);
    int at, cycles, line, word, lines_seen, first_bad;
    at         = 0;
    cycles     = 0;
    lines_seen = 0;
    first_bad  = -1;
    target = to;
    step   = 2'd1 + 2'(tb_pkg::random(seed) % 3);
    dst    = LineW'(tb_pkg::random(seed) % 128);
    clear  = 1'b1;
    memory(stall);
    @(negedge clk) clear = 1'b0;
    for (int i = 0; i < blocks * 64; i++) begin
      rows[i]   = middling();
      there[i] = want[(int'(dst) + i / 64 * int'(step)) * 64 + i % 64];
      if (to == acc_pkg::TargetMemory && tb_pkg::random(seed) % 512 == 0) begin
        rows[i] = tb_pkg::random(seed) % 2 == 0 ? 32'h7f800000 : 32'h7fc00000;
        if (first_bad < 0) first_bad = i / 64;
      end
    end
    while (at < blocks * 16 || busy) begin
      in_valid = at < blocks * 16 && go(stall);
      in_block = in_valid ? 16'(at / 16) : 16'(tb_pkg::random(seed));
      in_beat  = in_valid ? 4'(at % 16) : 4'(tb_pkg::random(seed));
      for (int k = 0; k < 4; k++) beat_next[k*32 +: 32] = in_valid ? rows[at*4 + k] : tb_pkg::random(seed);
      in_data = beat_next;
      memory(stall);
      if (in_valid && in_ready) at++;
      if (wq_valid && wq_ready) begin
        if (to != acc_pkg::TargetMemory || wq_strb != '1) $fatal(1, "a line, strobe %h", wq_strb);
        line = lines_seen % 4 + int'(dst) + lines_seen / 4 / int'(Channels) * 4;
        if (int'(wq_line) != line || int'(wq_channel) != lines_seen / 4 % int'(Channels))
          $fatal(1, "line %0d goes to line %0d of channel %0d", lines_seen, wq_line, wq_channel);
        for (int k = 0; k < 16; k++)
          if (wq_data[k*32 +: 32] != rows[lines_seen*16 + k]) $fatal(1, "line %0d: %h", lines_seen, wq_data);
        lines_seen++;
      end
      cycles++;
      if (cycles > 20000) $fatal(1, "stands still at beat %0d", at);
      @(negedge clk);
    end
    in_valid = 1'b0;
    if (to == acc_pkg::TargetMemory) begin
      if (lines_seen != 4 * blocks) $fatal(1, "%0d lines of %0d blocks", lines_seen, blocks);
      if (bad != (first_bad >= 0) || (bad && int'(bad_channel) != first_bad % int'(Channels)))
        $fatal(1, "not finite: %b in channel %0d; block %0d is the first", bad, bad_channel, first_bad);
    end else begin
      if (bad) $fatal(1, "not finite");
      for (int i = 0; i < blocks * 64; i++) begin
        word     = (int'(dst) + i / 64 * int'(step)) * 64 + i % 64;
        expected = to == acc_pkg::TargetAdd ? golden_add(there[i], rows[i]) : rows[i];
        got      = want[word];
        if (got != expected) $fatal(1, "row %0d: %h, not %h", i, got, expected);
      end
    end
    if (stall == 0 && cycles > blocks * 16 + 16) $fatal(1, "%0d cycles for %0d blocks", cycles, blocks);
  endtask

  initial begin
    done_o = 1'b0;
    for (int i = 0; i < int'(Words); i++) for (int k = 0; k < 16; k++) want[i*16 + k] = '0;
    client_q[0] = -1;
    client_q[1] = -1;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    // Every word once, so that the array is the memory's.
    for (int i = 0; i < int'(Words); i++) begin
      own_w      = 2'b01;
      own_mask   = '1;
      own_w_addr = 24'(i);
      for (int k = 0; k < 16; k++) begin
        want[i*16 + k]        = middling();
        data_next[k*32 +: 32] = want[i*16 + k];
      end
      own_data = data_next;
      @(negedge clk);
    end
    for (int i = 0; i < 24; i++) layer(acc_pkg::target_e'(i % 3), 1 + int'(tb_pkg::random(seed) % 16), i / 3 % 4 * 2);
    if (contests < 100 || held < 100) $fatal(1, "the stimulus is too tame: %0d contests, %0d stalls", contests, held);
    done_o = 1'b1;
  end
endmodule

module tb_codes (
  output logic done_o
);
  logic         clk = 1'b0, rst_n = 1'b0, w_valid = 1'b0, scale_valid = 1'b0, play = 1'b0, play_ready, quad_valid;
  logic         quad_ready = 1'b0;
  logic [9:0]   w_addr = '0;
  logic [127:0] w_data = '0, drawn;
  logic [31:0]  scale_in = '0, scale, quad, codes [0:4095];
  logic [10:0]  words = '0;
  logic [15:0]  rounds = '0;
  int           seed = 83;

  always #5 clk = !clk;
  acc_codes u_codes (.clk_i(clk), .rst_ni(rst_n), .w_valid_i(w_valid), .w_addr_i(w_addr), .w_data_i(w_data),
                     .scale_valid_i(scale_valid), .scale_i(scale_in), .scale_o(scale), .play_valid_i(play),
                     .play_ready_o(play_ready), .words_i(words), .rounds_i(rounds), .quad_valid_o(quad_valid),
                     .quad_ready_i(quad_ready), .quad_o(quad));

  task automatic fill(input int n);
    for (int i = 0; i < n; i++) begin
      w_valid = 1'b1;
      w_addr  = 10'(i);
      for (int k = 0; k < 4; k++) begin
        codes[4*i + k]    = tb_pkg::random(seed);
        drawn[k*32 +: 32] = codes[4*i + k];
      end
      w_data = drawn;
      @(negedge clk);
    end
    w_valid     = 1'b0;
    scale_valid = 1'b1;
    scale_in    = tb_pkg::random(seed);
    @(negedge clk) scale_valid = 1'b0;
    if (scale != scale_in) $fatal(1, "scale %h, not %h", scale, scale_in);
  endtask

  // Twice in a row: the second may wait while the first is played.
  task automatic rounds_of(input int n, input int m, input int stall);
    int at, asked, cycles;
    at     = 0;
    asked  = 0;
    cycles = 0;
    words  = 11'(n);
    rounds = 16'(m);
    while (at < 2 * m * n * 4) begin
      play       = asked < 2 && tb_pkg::random(seed) % 8 >= stall;
      quad_ready = tb_pkg::random(seed) % 8 >= stall;
      #1;
      if (quad_valid && quad_ready) begin
        if (quad != codes[at % (4 * n)]) $fatal(1, "quad %0d of %0d words: %h", at, n, quad);
        at++;
      end
      if (play && play_ready) asked++;
      cycles++;
      if (cycles > 100000) $fatal(1, "stands still at quad %0d", at);
      @(negedge clk);
    end
    play       = 1'b0;
    quad_ready = 1'b1;
    repeat (8) begin
      #1;
      if (quad_valid) $fatal(1, "a quad too many");
      @(negedge clk);
    end
    if (stall == 0 && cycles > 2 * m * n * 4 + 3) $fatal(1, "%0d cycles for %0d quads", cycles, 2 * m * n * 4);
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 20; i++) begin
      int n;
      n = i == 0 ? 1024 : i == 1 ? 1 : 1 + int'(tb_pkg::random(seed) % 60);
      fill(n);
      rounds_of(n, i == 0 ? 1 : 1 + i % 4, i % 4 * 2);
    end
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
