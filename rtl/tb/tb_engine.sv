// acc_unpack and acc_lane_array together: groups of W2S and dense W2 as they lie in the image, every port stalled by a
// seeded generator; the sums of 64 rows against the definition, and the lines of m as they came.
`default_nettype none
module tb_engine (
  output logic done_o
);
  import "DPI-C" function int golden_w2s(input int code, input int levels, input int act);
  import "DPI-C" function int golden_w2(input int word, input int act);

  logic             clk = 1'b0, rst_n = 1'b0, dense = 1'b0;
  acc_pkg::levels_e levels = acc_pkg::Levels12;
  logic [5:0]       quads = 6'd8;
  logic             line_valid = 1'b0, line_ready, col_valid, col_ready = 1'b0, first, last, m_valid, m_ready = 1'b0;
  logic [511:0]     line = '0, col, m;
  logic [31:0]      act = '0;
  logic             sums_done;
  logic [64*17-1:0] sums;
  int               seed = 5, groups = 0, waits = 0;

  always #5 clk = !clk;
  acc_unpack u_unpack (.clk_i(clk), .rst_ni(rst_n), .dense_i(dense), .quads_i(quads), .line_valid_i(line_valid),
                       .line_ready_o(line_ready), .line_i(line), .col_valid_o(col_valid), .col_ready_i(col_ready),
                       .col_o(col), .col_first_o(first), .col_last_o(last), .m_valid_o(m_valid), .m_ready_i(m_ready),
                       .m_o(m));
  acc_lane_array u_lanes (.clk_i(clk), .rst_ni(rst_n), .levels_i(levels), .dense_i(dense),
                          .valid_i(col_valid && col_ready), .first_i(first), .last_i(last), .col_i(col), .act_i(act),
                          .done_o(sums_done), .acc_o(sums));

  logic [511:0] lines [0:32];  // of the group: columns, then m
  logic [31:0]  acts [0:31];
  int           n_lines, want [0:63];

  function automatic logic [7:0] random_code();
    random_code = 8'(tb_pkg::random(seed) % 121);
  endfunction

  // A group of random codes, packed as image.h says, and its sums.
  task automatic make_group();
    logic [447:0] column;
    logic [447:0] columns [0:31];
    n_lines = 0;
    for (int r = 0; r < 64; r++) want[r] = 0;
    for (int q = 0; q < int'(quads); q++) begin
      acts[q] = tb_pkg::random(seed);
      for (int k = 0; k < 4; k++) if (acts[q][k*8 +: 8] == 8'h80) acts[q][k*8 +: 8] = 8'h7f;
      if (dense) begin
        for (int b = 0; b < 16; b++) lines[n_lines][b*32 +: 32] = tb_pkg::random(seed);
        for (int r = 0; r < 64; r++) begin
          int word;
          word = 0;
          for (int k = 0; k < 4; k++)
            word |= int'(lines[n_lines][(4 * (r % 16) + k) * 8 + r / 16 * 2 +: 2]) << (2 * k);
          want[r] += golden_w2(word, int'(acts[q]));
        end
        n_lines++;
      end else begin
        for (int r = 0; r < 64; r++) begin
          logic [7:0] code;
          code = random_code();
          column[r*7 +: 7] = code[6:0];
          want[r] += golden_w2s(int'(code), int'(levels), int'(acts[q]));
        end
        columns[q] = column;
      end
    end
    if (!dense)
      for (int o = 0; o < int'(quads); o += 8)
        for (int i = 0; i < 7; i++) begin
          lines[n_lines] = {columns[o + 7][i*64 +: 64], columns[o + i]};
          n_lines++;
        end
    for (int b = 0; b < 16; b++) lines[n_lines][b*32 +: 32] = tb_pkg::random(seed);
    n_lines++;
  endtask

  // Lines in, columns and m out, until the group's m has left; then its sums.
  task automatic run_group(input int stall);
    int at, q;
    logic m_seen, sums_seen;
    at = 0;
    q = 0;
    m_seen = 1'b0;
    sums_seen = 1'b0;
    while (!m_seen || !sums_seen) begin
      line_valid = at < n_lines && (tb_pkg::random(seed) % 8 >= stall);
      line       = line_valid ? lines[at] : 'x;
      col_ready  = tb_pkg::random(seed) % 8 >= stall;
      m_ready    = tb_pkg::random(seed) % 8 >= stall;
      act        = acts[q % 32];
      #1;
      if (line_valid && !line_ready) waits++;
      if (sums_done) begin
        sums_seen = 1'b1;
        for (int r = 0; r < 64; r++)
          if (int'(signed'(sums[r*17 +: 17])) != want[r])
            $fatal(1, "row %0d of a group of %0d columns, dense %0d: %0d, not %0d", r, quads, dense,
                   signed'(sums[r*17 +: 17]), want[r]);
      end
      if (m_valid && m_ready) begin
        m_seen = 1'b1;
        if (m != lines[n_lines - 1]) $fatal(1, "a line of m differs");
      end
      if (col_valid && col_ready) begin
        if (first != (q == 0) || last != (q == int'(quads) - 1)) $fatal(1, "column %0d: first %0d, last %0d", q, first, last);
        q++;
      end
      if (line_valid && line_ready) at++;
      @(negedge clk);
    end
    if (at != n_lines || q != int'(quads)) $fatal(1, "%0d lines and %0d columns of %0d and %0d", at, q, n_lines, quads);
    groups++;
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 240; i++) begin
      dense  = i % 4 == 3;
      levels = acc_pkg::levels_e'(i % 4 % 3);
      quads  = 6'd8 << (i / 4 % (i % 4 == 2 ? 2 : 3));  // levels (2, 5) stop at 64 columns
      make_group();
      run_group(i / 12 % 4 * 2);
    end
    if (waits < 500) $fatal(1, "the stimulus is too tame: %0d stalls", waits);
    $display("ok engine: %0d groups", groups);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
