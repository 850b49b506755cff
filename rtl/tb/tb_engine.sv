// acc_engine against the device model's MM: streams of every format as the image holds them, of random groups, blocks,
// m, row scales and biases, with lines, activation quads and results stalled by a seeded generator; unstalled streams
// keep the promised pace. Then blocks of keys and values through the same multipliers.
`default_nettype none
module tb_engine (
  output logic done_o
);
  import "DPI-C" function int golden_mm_open(input int format, input int levels, input int group, input int groups,
                                             input int blocks, input int bias, input int m_most, input int seed);
  import "DPI-C" function int golden_mm_line(input int line, input int k);
  import "DPI-C" function int golden_mm_quad(input int quad);
  import "DPI-C" function int golden_mm_scale();
  import "DPI-C" function int golden_mm_row(input int row);
  import "DPI-C" function int golden_kv_open(input int bits, input int value, input int dims, input int seed);
  import "DPI-C" function int golden_kv_operand(input int k);
  import "DPI-C" function int golden_kv_want(input int k);

  logic             clk = 1'b0, rst_n = 1'b0, bias = 1'b0;
  acc_pkg::format_e format = acc_pkg::FormatW2s;
  acc_pkg::levels_e levels = acc_pkg::Levels12;
  logic [5:0]       quads = 6'd8;
  logic [9:0]       groups = 10'd1;
  logic [31:0]      scale = '0, quad = '0;
  logic             line_valid = 1'b0, line_ready, quad_valid = 1'b0, quad_ready, y_valid, y_ready = 1'b0;
  logic [511:0]     line = '0, drawn;  // drawn: ports are written whole, or Verilator misses a change
  logic [127:0]     y;
  logic             kv = 1'b0, kv_valid = 1'b0, kv_four = 1'b0, kv_eight = 1'b0, kv_sums_valid;
  logic [511:0]     kv_line = '0;
  logic [71:0]      kv_operands = '0;
  logic [16*18-1:0] kv_low;
  logic [16*16-1:0] kv_high;
  int               seed = 5, streams = 0, waits = 0, held = 0, kv_blocks = 0;

  always #5 clk = !clk;
  acc_engine u_engine (.clk_i(clk), .rst_ni(rst_n), .format_i(format), .levels_i(levels), .quads_i(quads),
                       .groups_i(groups), .bias_i(bias), .scale_i(scale), .line_valid_i(line_valid),
                       .line_ready_o(line_ready), .line_i(line), .quad_valid_i(quad_valid), .quad_ready_o(quad_ready),
                       .quad_i(quad), .y_valid_o(y_valid), .y_ready_i(y_ready), .y_o(y), .kv_i(kv), .kv_valid_i(kv_valid),
                       .kv_four_i(kv_four), .kv_eight_i(kv_eight), .kv_line_i(kv_line), .kv_operands_i(kv_operands),
                       .kv_sums_valid_o(kv_sums_valid), .kv_low_o(kv_low), .kv_high_o(kv_high));

  function automatic logic go(input int stall);
    go = tb_pkg::random(seed) % 8 >= stall;
  endfunction

  // Cycles that a block may take: its columns and lines of m, 4 for a line of rows, and what the last group's sums
  // still need. A stream's last rows come up to 12 later.
  function automatic int pace();
    int columns;
    columns = int'(quads) << (format == acc_pkg::FormatW4 ? 1 : format == acc_pkg::FormatW8 ? 2 : 0);
    pace = int'(groups) * (columns + (format == acc_pkg::FormatW8 ? 0 : 1)) + (bias ? 32 : 16) + 16;
  endfunction

  task automatic run_stream(input int lines, input int blocks, input int stall);
    int at, q, beat, cycles, all;
    at = 0;
    q = 0;
    beat = 0;
    cycles = 0;
    all = blocks * int'(groups) * int'(quads);
    while (beat < 16 * blocks) begin
      line_valid = at < lines && go(stall);
      quad_valid = q < all && go(stall);
      y_ready    = go(stall) && (stall == 0 || cycles / 256 % 2 == 1);  // and long enough for more than a block to wait
      for (int k = 0; k < 16; k++) drawn[k*32 +: 32] = line_valid ? golden_mm_line(at, k) : tb_pkg::random(seed);
      line = drawn;
      quad = quad_valid ? golden_mm_quad(q % (int'(groups) * int'(quads))) : tb_pkg::random(seed);
      #1;
      if (line_valid && !line_ready) waits++;
      if (y_valid && !y_ready) held++;
      if (y_valid && y_ready) begin
        for (int k = 0; k < 4; k++)
          if (y[k*32 +: 32] != golden_mm_row(beat * 4 + k))
            $fatal(1, "stream %0d (format %0d, %0d columns, %0d groups, bias %0d), row %0d: %h, not %h", streams, format,
                   4 * quads, groups, bias, beat * 4 + k, y[k*32 +: 32], golden_mm_row(beat * 4 + k));
        beat++;
      end
      if (line_valid && line_ready) at++;
      if (quad_valid && quad_ready) q++;
      cycles++;
      if (cycles > 100000) $fatal(1, "stream %0d stands still at line %0d, quad %0d, beat %0d", streams, at, q, beat);
      @(negedge clk);
    end
    if (at != lines || q != all) $fatal(1, "stream %0d: %0d lines of %0d, %0d quads of %0d", streams, at, lines, q, all);
    if (stall == 0 && cycles > blocks * pace() + 12)
      $fatal(1, "stream %0d (format %0d): %0d cycles, not %0d", streams, format, cycles, blocks * pace() + 12);
    {line_valid, quad_valid, y_ready} = 3'b000;
    streams++;
  endtask

  // Sums of lines added up where cache_map.h says they belong.
  task automatic run_kv(input int bits, input int value, input int dims);
    int lines, at, seen, got [0:255];
    lines = golden_kv_open(bits, value, dims, 1 + kv_blocks);
    at = 0;
    seen = 0;
    for (int i = 0; i < 256; i++) got[i] = 0;
    kv = 1'b1;
    @(negedge clk);
    while (seen < lines) begin
      kv_valid = at < lines && go(3);
      kv_four  = bits == 4;
      kv_eight = bits == 4 && value == 0;
      for (int k = 0; k < 16; k++) drawn[k*32 +: 32] = kv_valid ? golden_mm_line(at, k) : tb_pkg::random(seed);
      kv_line = drawn;
      for (int k = 0; k < 8; k++) begin
        if (value == 1) drawn[k*9 +: 9] = 9'(golden_kv_operand(at / (dims / (bits == 4 ? 32 : 16)) * 4 + k % 4));
        else drawn[k*9 +: 9] = 9'(golden_kv_operand((at * (kv_eight ? 8 : 4) + k) % 256));
        if (!kv_valid) drawn[k*9 +: 9] = 9'(tb_pkg::random(seed));
      end
      kv_operands = drawn[71:0];
      #1;
      if (kv_sums_valid) begin
        for (int g = 0; g < 16; g++)
          if (value == 0 && bits == 8) got[g] += int'(signed'(kv_low[g*18 +: 18]));
          else if (value == 0 && g < 8) begin
            got[2*g] += int'(signed'(kv_low[g*18 +: 18]));
            got[2*g+1] += int'(signed'(kv_high[g*16 +: 16]));
          end else if (value == 1) begin
            int d;
            d = seen % (dims / (bits == 4 ? 32 : 16)) * 16 + g;
            got[d] += int'(signed'(kv_low[g*18 +: 18]));
            if (bits == 4) got[d + dims / 2] += int'(signed'(kv_high[g*16 +: 16]));
          end
        seen++;
      end
      if (kv_valid) at++;
      @(negedge clk);
    end
    {kv, kv_valid} = 2'b00;
    for (int i = 0; i < (value == 1 ? dims : 16); i++)
      if (got[i] != golden_kv_want(i))
        $fatal(1, "%0d bits, value %0d, %0d dimensions: sum %0d is %0d, not %0d", bits, value, dims, i, got[i],
               golden_kv_want(i));
    kv_blocks++;
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 64; i++) begin
      int blocks, lines, group;
      format = acc_pkg::format_e'(i % 4);
      levels = acc_pkg::levels_e'(i / 4 % 3);
      group  = i / 8 % (i / 4 % 3 == 2 ? 2 : 3);  // levels (2, 5) stop at 64 columns
      quads  = 6'd8 << group;
      groups = i == 1 ? 10'd299 : 10'd1 + 10'(tb_pkg::random(seed) % 4);
      blocks = i == 1 ? 1 : 1 + int'(tb_pkg::random(seed) % 3);
      bias   = 1'(tb_pkg::random(seed));
      lines  = golden_mm_open(int'(format), int'(levels), group, int'(groups), blocks, int'(bias),
                              i % 3 == 0 ? 1 : i % 3 == 1 ? 15 : 255, i + 1);
      if (lines < 0) $fatal(1, "stream %0d is not one", i);
      scale  = golden_mm_scale();
      run_stream(lines, blocks, i / 4 % 4 * 2);
      if (i % 2 == 1) run_kv(i % 4 == 1 ? 4 : 8, i / 4 % 2, 32 << (i / 8 % 4));
    end
    if (waits < 500 || held < 100) $fatal(1, "the stimulus is too tame: %0d and %0d stalls", waits, held);
    $display("ok engine: %0d streams, %0d blocks of keys and values", streams, kv_blocks);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
