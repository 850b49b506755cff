// acc_vec against the device model's VEC, MOV and TOP: random instructions over random vectors, with what it has to
// refuse among them; 1, 2 and 4 channels, 16, 8 and 4 lanes. The vector memory, memory channels and writes are stalled
// by a seeded generator; unstalled instructions keep the promised pace.
`default_nettype none
module tb_vec (
  output logic done_o
);
  logic [2:0] done;
  int         commands [0:2], errors [0:2], held [0:2], overlaps [0:2];
  tb_vec_of #(.Id(0), .Channels(1), .Lanes(16)) u_one (
      .done_o(done[0]), .commands_o(commands[0]), .errors_o(errors[0]), .held_o(held[0]), .overlaps_o(overlaps[0]));
  tb_vec_of #(.Id(1), .Channels(2), .Lanes(8)) u_two (
      .done_o(done[1]), .commands_o(commands[1]), .errors_o(errors[1]), .held_o(held[1]), .overlaps_o(overlaps[1]));
  tb_vec_of #(.Id(2), .Channels(4), .Lanes(4)) u_four (
      .done_o(done[2]), .commands_o(commands[2]), .errors_o(errors[2]), .held_o(held[2]), .overlaps_o(overlaps[2]));
  initial begin
    done_o = 1'b0;
    wait (done == 3'b111);
    for (int i = 0; i < 3; i++)
      if (3 * errors[i] < 10 * tb_pkg::More || 3 * held[i] < 1000 * tb_pkg::More || 3 * overlaps[i] < 5 * tb_pkg::More)
        $fatal(1, "the stimulus is too tame: %0d errors, %0d stalls, %0d overlaps", errors[i], held[i], overlaps[i]);
    $display("ok vec: %0d instructions, %0d of them refused or not finite", commands[0] + commands[1] + commands[2],
             errors[0] + errors[1] + errors[2]);
    done_o = 1'b1;
  end
endmodule

module tb_vec_of #(
  parameter int Id = 0,
  parameter int unsigned Channels = 1,
  parameter int unsigned Lanes = 16
) (
  output logic done_o,
  output int   commands_o,
  output int   errors_o,
  output int   held_o,
  output int   overlaps_o   // of results and what is still to be read
);
  import "DPI-C" function void golden_vec_draw(input int id, input int channels, input int what, input int seed);
  import "DPI-C" function int golden_vec_word(input int id, input int k);
  import "DPI-C" function int golden_vec_run(input int id);
  import "DPI-C" function int golden_vec_differs(input int id);
  import "DPI-C" function int golden_vec_best(input int id);
  import "DPI-C" function int golden_vec_line(input int id, input int channel, input int line, input int k);
  import "DPI-C" function void golden_vec_put_line(input int id, input int channel, input int line, input int k,
                                                   input int u);
  import "DPI-C" function int golden_vec_float(input int id, input int word, input int k);
  import "DPI-C" function void golden_vec_put_float(input int id, input int word, input int k, input int u);
  import "DPI-C" function void golden_vec_put_codes(input int id, input int quad, input int u);
  import "DPI-C" function void golden_vec_put_scale(input int id, input int u);
  localparam int unsigned Lines = 2048, LineW = 24;
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels);

  logic                      clk = 1'b0, rst_n = 1'b0, cmd_valid = 1'b0, cmd_ready, ended;
  logic [127:0]              cmd = '0;
  acc_pkg::error_e           error;
  logic [4:0]                error_channel;
  logic [31:0]               token = '0, epsilon = '0, best, scale;
  logic                      r_valid, r_ready = 1'b0, q_valid = 1'b0, w_valid, w_ready = 1'b0, code_valid, scale_valid;
  logic                      best_valid;
  logic [11:0]               r_addr, w_addr;
  logic [511:0]              q_data = '0, w_data, wq_data;
  logic [15:0]               w_mask;
  logic [9:0]                code_addr;
  logic [127:0]              code;
  logic [Channels-1:0]       rq_valid, rq_ready = '0, rd_valid = '0, rd_ready, w_idle = '1;
  logic [Channels*LineW-1:0] rq_line;
  logic [Channels*16-1:0]    rq_count;
  logic [Channels*512-1:0]   rd_data = '0;
  logic                      wq_valid, wq_ready = 1'b0;
  logic [ChannelW-1:0]       wq_channel;
  logic [LineW-1:0]          wq_line;
  logic [63:0]               wq_strb;
  int                        seed = 41 + Id;

  always #5 clk = !clk;
  acc_vec #(.Channels(Channels), .Lanes(Lanes), .LineW(LineW)) u_vec (
      .clk_i(clk), .rst_ni(rst_n), .cmd_valid_i(cmd_valid), .cmd_ready_o(cmd_ready), .cmd_i(cmd), .done_o(ended),
      .error_o(error), .error_channel_o(error_channel), .token_i(token), .epsilon_i(epsilon), .lines_i(24'(Lines)),
      .best_valid_o(best_valid), .best_o(best), .r_valid_o(r_valid), .r_ready_i(r_ready), .r_addr_o(r_addr),
      .q_valid_i(q_valid), .q_data_i(q_data), .w_valid_o(w_valid), .w_ready_i(w_ready), .w_addr_o(w_addr),
      .w_data_o(w_data), .w_mask_o(w_mask), .code_valid_o(code_valid),
      .code_addr_o(code_addr), .code_o(code), .scale_valid_o(scale_valid), .scale_o(scale), .rq_valid_o(rq_valid),
      .rq_ready_i(rq_ready), .rq_line_o(rq_line), .rq_count_o(rq_count), .rd_valid_i(rd_valid),
      .rd_ready_o(rd_ready), .rd_data_i(rd_data), .wq_valid_o(wq_valid), .wq_ready_i(wq_ready),
      .wq_channel_o(wq_channel), .wq_line_o(wq_line), .wq_data_o(wq_data), .wq_strb_o(wq_strb), .w_idle_i(w_idle));

  function automatic logic go(input int stall);
    go = tb_pkg::random(seed) % 8 >= stall;
  endfunction

  // What ports are driven with: drawn piece by piece, then written whole, or Verilator misses a change.
  logic [Channels-1:0]     rq_go, rd_go, idle;
  logic [Channels*512-1:0] rd_next;
  logic [511:0]            q_next;
  int line_at [0:Channels-1], lines_left [0:Channels-1], unanswered [0:Channels-1];  // a request at a time
  int                      asked_before, asked_now;     // words that the vector memory was asked for; -1: none
  logic [511:0]            words_before, words_now;

  task automatic drive(input int stall);
    q_valid = asked_before >= 0;
    for (int k = 0; k < 16; k++) q_next[k*32 +: 32] = q_valid ? words_before[k*32 +: 32] : tb_pkg::random(seed);
    q_data  = q_next;
    r_ready  = go(stall);
    w_ready  = go(stall);
    wq_ready = go(stall);
    for (int c = 0; c < int'(Channels); c++) begin
      rq_go[c] = lines_left[c] == 0 && go(stall);
      rd_go[c] = lines_left[c] != 0 && go(stall);
      if (unanswered[c] > 0 && go(4)) unanswered[c]--;
      idle[c] = unanswered[c] == 0;
      for (int k = 0; k < 16; k++)
        rd_next[c*512 + k*32 +: 32] = rd_go[c] ? golden_vec_line(Id, c, line_at[c], k) : tb_pkg::random(seed);
    end
    rq_ready = rq_go;
    rd_valid = rd_go;
    w_idle   = idle;
    rd_data  = rd_next;
  endtask

  task automatic sample();
    if ((w_valid && !w_ready) || (r_valid && !r_ready) || (wq_valid && !wq_ready)) held_o++;
    asked_before = asked_now;
    words_before = words_now;
    asked_now    = r_valid && r_ready ? int'(r_addr) : -1;
    for (int k = 0; k < 16; k++) if (asked_now >= 0) words_now[k*32 +: 32] = golden_vec_float(Id, asked_now, k);
    for (int k = 0; k < 16; k++) begin
      if (w_valid && w_ready && w_mask[k]) golden_vec_put_float(Id, int'(w_addr), k, int'(w_data[k*32 +: 32]));
      if (wq_valid && wq_ready) begin
        if (wq_strb[4*k +: 4] != 4'h0 && wq_strb[4*k +: 4] != 4'hf) $fatal(1, "strobe %h", wq_strb);
        if (wq_strb[4*k]) golden_vec_put_line(Id, int'(wq_channel), int'(wq_line), k, int'(wq_data[k*32 +: 32]));
      end
    end
    if (wq_valid && wq_ready) unanswered[int'(wq_channel)]++;
    for (int k = 0; k < 4; k++)
      if (code_valid) golden_vec_put_codes(Id, 4 * int'(code_addr) + k, int'(code[k*32 +: 32]));
    if (scale_valid) golden_vec_put_scale(Id, int'(scale));
    for (int c = 0; c < int'(Channels); c++) begin
      if (rd_valid[c] && rd_ready[c]) begin
        line_at[c]++;
        lines_left[c]--;
      end
      if (rq_valid[c] && rq_ready[c]) begin
        line_at[c]    = int'(rq_line[c*LineW +: LineW]);
        lines_left[c] = int'(rq_count[c*16 +: 16]);
        if (lines_left[c] == 0 || line_at[c] + lines_left[c] > int'(Lines))
          $fatal(1, "channel %0d is asked for %0d lines from %0d", c, lines_left[c], line_at[c]);
      end
    end
  endtask

  // Cycles that an unstalled instruction may take. SILU whose results land on what is still to be read waits for them.
  function automatic int pace(input int what, input int n);
    int words, beats;
    words = (n + 15) / 16;
    beats = words * 16 / int'(Lanes);
    case (what)
      0:       pace = beats + (beats + 75 > 180 ? beats + 75 : 180);
      1:       pace = 2 * beats + 80;
      2:       pace = (2 * words > beats ? 2 * words : beats) + beats + 95;
      3:       pace = (n + 63) / 64 * 64 / int'(Lanes) + (cmd[acc_pkg::MovScaledLsb] ? beats + 18 : 0) + 42;
      4:       pace = 3 * words + 60;  // writes are answered at half the pace
      default: pace = words + 12;
    endcase
  endfunction

  task automatic one(input int what, input int stall);
    int cycles, wrong, want, n;
    logic over, waits;
    golden_vec_draw(Id, int'(Channels), what, 1000 * Id + commands_o + 1);
    for (int k = 0; k < 4; k++) cmd[k*32 +: 32] = golden_vec_word(Id, k);
    token   = golden_vec_word(Id, 4);
    epsilon = golden_vec_word(Id, 5);
    n = what == 5 ? int'(cmd[23:0]) : what >= 3 ? int'(cmd[15:1]) : int'(cmd[16:2]);
    cycles  = 0;
    over    = 1'b0;
    while (!over) begin
      cmd_valid = cycles == 0;
      drive(stall);
      #1;
      if (cycles == 0 && !cmd_ready) $fatal(1, "not ready after an instruction");
      sample();
      over = ended;
      if (best_valid != (ended && what == 5 && error == acc_pkg::ErrorNone))
        $fatal(1, "bench %0d, instruction %0d (%0d): a best token, %0d", Id, commands_o, what, best_valid);
      if (over) begin
        want = golden_vec_run(Id);
        if (int'(error) != want || error_channel != '0)
          $fatal(1, "bench %0d, instruction %0d (%0d, %0d elements): error %0d, not %0d", Id, commands_o, what, n,
                 error, want);
      end
      cycles++;
      if (cycles > 200000)
        $fatal(1, "bench %0d: instruction %0d (%0d, %0d elements) stands still", Id, commands_o, what, n);
      @(negedge clk);
    end
    wrong = want == 0 ? golden_vec_differs(Id) : 0;
    if (want == 0 && what == 5 && int'(best) != golden_vec_best(Id)) wrong = 5;
    if (wrong != 0)
      $fatal(1, "bench %0d, instruction %0d (%0d, %0d elements): memory %0d differs", Id, commands_o, what, n, wrong);
    waits = what == 2 && cmd[36:27] > cmd[26:17] && int'(cmd[36:27]) < int'(cmd[26:17]) + (n + 63) / 64 * 2;
    if (waits) overlaps_o++;
    if (want == 0 && stall == 0 && !waits && cycles > pace(what, n))
      $fatal(1, "bench %0d, instruction %0d (%0d, %0d elements): %0d cycles, not %0d", Id, commands_o, what, n, cycles,
             pace(what, n));
    for (int c = 0; c < int'(Channels); c++)
      if (want == 0 && lines_left[c] != 0)
        $fatal(1, "instruction %0d: %0d lines were asked for in vain", commands_o, lines_left[c]);
    if (want != 0) errors_o++;
    commands_o++;
  endtask

  initial begin
    done_o       = 1'b0;
    commands_o   = 0;
    errors_o     = 0;
    held_o       = 0;
    overlaps_o   = 0;
    asked_before = -1;
    asked_now    = -1;
    for (int c = 0; c < int'(Channels); c++) begin
      line_at[c]    = 0;
      lines_left[c] = 0;
      unanswered[c] = 0;
    end
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 80 * tb_pkg::More; i++) one(i % 6, i / 6 % 4 * 2);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
