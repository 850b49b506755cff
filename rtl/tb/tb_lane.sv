// acc_lane with acc_picks: every code of every pair of levels, and every dense word, against the definition: the
// activation's corners at every place, then random activations; sums over random groups with gaps.
`default_nettype none
module tb_lane (
  output logic done_o
);
  import "DPI-C" function int golden_w2s(input int code, input int levels, input int act);
  import "DPI-C" function int golden_w2(input int word, input int act);

  logic               clk = 1'b0, valid = 1'b0, first = 1'b0, dense = 1'b0;
  acc_pkg::levels_e   levels = acc_pkg::Levels12;
  logic [7:0]         word = '0;
  logic [31:0]        act = '0;
  logic [43:0]        low, high;
  logic signed [16:0] acc;
  int                 checks = 0, seed = 1;

  always #5 clk = !clk;
  acc_picks u_picks (.levels_i(levels), .dense_i(dense), .act_i(act), .low_o(low), .high_o(high));
  acc_lane u_lane (.clk_i(clk), .valid_i(valid), .first_i(first), .dense_i(dense), .word_i(word), .low_i(low),
                   .high_i(high), .acc_o(acc));

  // Corners of an activation code.
  function automatic logic [7:0] corner(input int i);
    case (i)
      0: corner = 8'd0;
      1: corner = 8'd1;
      2: corner = 8'hff;
      3: corner = 8'd127;
      4: corner = 8'h81;  // -127
      default: corner = 8'd64;
    endcase
  endfunction

  function automatic int golden(input int w, input int a);
    golden = dense ? golden_w2(w, a) : golden_w2s(w, int'(levels), a);
  endfunction

  // One column as a group of its own.
  task automatic one(input int w, input logic [31:0] a);
    @(negedge clk);
    {valid, first, word, act} = {2'b11, w[7:0], a};
    @(negedge clk) valid = 1'b0;
    repeat (2) @(negedge clk);
    checks++;
    if (int'(acc) != golden(w, int'(a)))
      $fatal(1, "word %0d, levels %0d, dense %0d, activations %h: %0d, not %0d", w, levels, dense, a, acc,
             golden(w, int'(a)));
  endtask

  // A group of n columns with gaps.
  task automatic group(input int n, input int words);
    int sum = 0;
    for (int i = 0; i < n; i++) begin
      @(negedge clk);
      word  = 8'(tb_pkg::random(seed) % words);
      act   = tb_pkg::random(seed);
      for (int k = 0; k < 4; k++) if (act[k*8 +: 8] == 8'h80) act[k*8 +: 8] = 8'h81;
      first = (i == 0);
      valid = 1'b1;
      sum += golden(int'(word), int'(act));
      while (tb_pkg::random(seed) % 4 == 0) @(negedge clk) valid = 1'b0;
    end
    @(negedge clk) valid = 1'b0;
    repeat (2) @(negedge clk);
    checks++;
    if (int'(acc) != sum) $fatal(1, "a group of %0d columns: %0d, not %0d", n, acc, sum);
  endtask

  initial begin
    done_o = 1'b0;
    for (int mode = 0; mode < 4; mode++) begin
      dense  = mode == 3;
      levels = acc_pkg::levels_e'(mode % 3);
      for (int w = 0; w < (dense ? 256 : 128); w++) begin
        for (int place = 0; place < 4; place++)
          for (int i = 0; i < 6; i++)
            for (int rest = 0; rest < 2; rest++)
              one(w, ((rest == 1 ? 32'h7f817f81 : 32'h0) & ~(32'hff << (8 * place))) |
                     (32'(corner(i)) << (8 * place)));
      end
      repeat (200) group(8 << (tb_pkg::random(seed) % (mode == 2 ? 2 : 3)), dense ? 256 : 128);
    end
    $display("ok lane: %0d checks", checks);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
