// One of the cache units, KVW or ATT by Op, against the device model on drawn cases (golden_cache.c): memory and vector
// memory are its own copies, every port is stalled by a seeded generator, in every third case none. Then all that was
// written is compared.
`default_nettype none
module cache_rig #(
  parameter int unsigned Channels = 1,
  parameter acc_pkg::opcode_e Op = acc_pkg::OpKvw,
  parameter int Cases = 1,
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic start_i,
  output logic done_o
);
  import "DPI-C" function int golden_cache_open(input int op, input int channels, input int seed);
  import "DPI-C" function void golden_cache_settings(output bit [511:0] settings);
  import "DPI-C" function void golden_cache_inst(output bit [127:0] inst);
  import "DPI-C" function void golden_cache_read(input int channel, input int line, output bit [511:0] data);
  import "DPI-C" function void golden_cache_write(input int channel, input int line, input bit [511:0] data,
                                                  input bit [63:0] strb);
  import "DPI-C" function void golden_cache_vmem_read(input int word, output bit [511:0] data);
  import "DPI-C" function void golden_cache_vmem_write(input int word, input bit [511:0] data, input int mask);
  import "DPI-C" function int golden_cache_lines();
  import "DPI-C" function int golden_cache_differences();
  import "DPI-C" function void golden_cache_say();

  localparam int Latency = 3;  // of the vector memory
  acc_unit_pkg::settings_t settings = '0;
  acc_pkg::error_e     error;
  logic                clk = 1'b0, rst_n = 1'b0, cmd_valid = 1'b0, cmd_ready, done;
  logic [127:0]        cmd = '0;
  logic [22:0]         lines = '0;
  logic                r_valid, r_ready = 1'b0, q_valid = 1'b0, rq_valid, rq_ready = 1'b0, rd_valid = 1'b0, rd_ready;
  logic                w_valid, w_ready = 1'b0, wq_valid, wq_ready = 1'b0, w_idle = 1'b0;
  logic [11:0]         r_addr, w_addr;
  logic [511:0]        q_data = '0, rd_data = '0, w_data, wq_data;
  logic [15:0]         w_mask, rq_count;
  logic [ChannelW-1:0] rq_channel, wq_channel;
  logic [21:0]         rq_line, wq_line;
  logic [63:0]         wq_strb;
  int                  seed = 40 + int'(Channels), refused = 0, failed = 0, waits = 0;

  always begin  // stands while the rig waits for others
    #5;
    if (start_i && !done_o) clk = !clk;
  end
  if (Op == acc_pkg::OpKvw) begin : gen_kvw
    acc_kv_wr #(.Channels(Channels)) u_dut (
        .clk_i(clk), .rst_ni(rst_n), .settings_i(settings), .lines_i(lines), .cmd_valid_i(cmd_valid),
        .cmd_ready_o(cmd_ready), .cmd_i(cmd), .done_o(done), .error_o(error), .r_valid_o(r_valid), .r_ready_i(r_ready),
        .r_addr_o(r_addr), .q_valid_i(q_valid), .q_data_i(q_data), .rq_valid_o(rq_valid), .rq_ready_i(rq_ready),
        .rq_channel_o(rq_channel), .rq_line_o(rq_line), .rq_count_o(rq_count), .rd_valid_i(rd_valid),
        .rd_ready_o(rd_ready), .rd_data_i(rd_data), .wq_valid_o(wq_valid), .wq_ready_i(wq_ready),
        .wq_channel_o(wq_channel), .wq_line_o(wq_line), .wq_data_o(wq_data), .wq_strb_o(wq_strb), .w_idle_i(w_idle));
    assign {w_valid, w_addr, w_data, w_mask} = '0;
  end else begin : gen_att
    logic         kv_valid, kv_four, kv_eight, sums_valid, unused_done;
    logic [511:0] kv_line;
    logic [71:0]  operands;
    logic [287:0] low;
    logic [255:0] high;
    logic [64*22-1:0] unused_acc;
    acc_attn #(.Channels(Channels)) u_dut (
        .clk_i(clk), .rst_ni(rst_n), .settings_i(settings), .lines_i(lines), .cmd_valid_i(cmd_valid),
        .cmd_ready_o(cmd_ready), .cmd_i(cmd), .done_o(done), .error_o(error), .r_valid_o(r_valid), .r_ready_i(r_ready),
        .r_addr_o(r_addr), .q_valid_i(q_valid), .q_data_i(q_data), .w_valid_o(w_valid), .w_ready_i(w_ready),
        .w_addr_o(w_addr), .w_data_o(w_data), .w_mask_o(w_mask), .rq_valid_o(rq_valid), .rq_ready_i(rq_ready),
        .rq_channel_o(rq_channel), .rq_line_o(rq_line), .rq_count_o(rq_count), .rd_valid_i(rd_valid),
        .rd_ready_o(rd_ready), .rd_data_i(rd_data), .kv_valid_o(kv_valid), .kv_four_o(kv_four), .kv_eight_o(kv_eight),
        .kv_line_o(kv_line), .kv_operands_o(operands), .kv_sums_valid_i(sums_valid), .kv_low_i(low), .kv_high_i(high));
    acc_dense u_dense (.clk_i(clk), .rst_ni(rst_n), .four_i(kv_four), .weights_i(1'b0), .eight_i(kv_eight),
                       .valid_i(kv_valid), .first_i(1'b0), .last_i(1'b0), .part_i(2'd0), .line_i(kv_line),
                       .operands_i(operands), .sums_valid_o(sums_valid), .low_o(low), .high_o(high),
                       .done_o(unused_done), .acc_o(unused_acc));
    assign {wq_valid, wq_channel, wq_line, wq_data, wq_strb} = '0;
  end

  bit [511:0] line, word, bits;      // ports are written whole, or Verilator misses a change
  bit [127:0] inst;
  int         asked_channel [$], asked_line [$];  // lines to come
  int         words [0:Latency-1];   // on their way out of the vector memory; -1: none

  function automatic logic go(input int stall);
    go = tb_pkg::random(seed) % 8 >= stall;
  endfunction

  task automatic drive(input int stall, input int pending);
    r_ready  = go(stall);
    w_ready  = go(stall);
    rq_ready = go(stall);
    wq_ready = go(stall);
    rd_valid = asked_line.size() != 0 && go(stall);
    q_valid  = words[0] >= 0;
    w_idle   = pending == 0;
    for (int k = 0; k < 16; k++) bits[k*32 +: 32] = tb_pkg::random(seed);
    line = bits;
    word = bits;
    if (rd_valid) golden_cache_read(asked_channel[0], asked_line[0], line);
    if (q_valid) golden_cache_vmem_read(words[0], word);
    rd_data = line;
    q_data  = word;
  endtask

  // What has shaken hands in this cycle.
  task automatic serve(input string name, inout int pending);
    for (int k = 0; k + 1 < Latency; k++) words[k] = words[k+1];
    words[Latency-1] = r_valid && r_ready ? int'(r_addr) : -1;
    if (rd_valid && !rd_ready) waits++;
    if (rd_valid && rd_ready) begin
      void'(asked_channel.pop_front());
      void'(asked_line.pop_front());
    end
    if (rq_valid && rq_ready)
      for (int k = 0; k < int'(rq_count); k++) begin
        if (int'(rq_line) + k >= int'(lines)) $fatal(1, "%s reads line %0d", name, int'(rq_line) + k);
        asked_channel.push_back(int'(rq_channel));
        asked_line.push_back(int'(rq_line) + k);
      end
    if (w_valid && w_ready) golden_cache_vmem_write(int'(w_addr), w_data, int'(w_mask));
    if (wq_valid && wq_ready) begin
      if (int'(wq_line) >= int'(lines)) $fatal(1, "%s writes line %0d", name, wq_line);
      golden_cache_write(int'(wq_channel), int'(wq_line), wq_data, wq_strb);
      pending++;
    end
  endtask

  task automatic run(input int want, input int stall, input string name);
    int   pending, cycles;
    logic ended;
    pending = 0;
    cycles  = 0;
    ended   = 1'b0;
    for (int k = 0; k < Latency; k++) words[k] = -1;
    while (!ended) begin
      cmd_valid = cycles == 0 || (cmd_valid && !cmd_ready);
      drive(stall, pending);
      #1;
      if (pending > 0 && go(stall)) pending--;
      serve(name, pending);
      ended = done;
      if (done && (!w_idle || int'(error) != want)) begin
        golden_cache_say();
        $fatal(1, "%s ends with %0d, not %0d", name, error, want);
      end
      cycles++;
      if (cycles > 400000) begin
        golden_cache_say();
        $fatal(1, "%s stands still", name);
      end
      @(negedge clk);
    end
    if (asked_line.size() != 0) $fatal(1, "%s leaves %0d lines that it asked for", name, asked_line.size());
    if ((Op == acc_pkg::OpKvw || want == 0) && golden_cache_differences() != 0) begin
      golden_cache_say();
      $fatal(1, "%s differs", name);
    end
    if (stall == 0) $display("# %s: %0d cycles", name, cycles);
  endtask

  initial begin
    done_o = 1'b0;
    wait (start_i);
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < Cases; i++) begin
      int want;
      want = golden_cache_open(int'(Op), int'(Channels), 1000 * int'(Channels) + i);
      if (want < 0) $fatal(1, "case %0d is not one", i);
      golden_cache_settings(bits);
      golden_cache_inst(inst);
      lines    = 23'(golden_cache_lines());
      settings = bits;
      cmd      = inst;
      if (want == int'(acc_pkg::ErrorNotFinite)) failed++;
      else if (want != 0) refused++;
      run(want, i % 3 * 2, $sformatf("%0d channels, case %0d", Channels, i));
    end
    $display("# %0d channels: %0d cases, %0d of them refused, %0d not finite", Channels, Cases, refused, failed);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
