// acc_fp_sum against acc_sum(): vectors of 1 to 2,000 elements over a wide range of exponents, so that the order shows;
// beats and results stalled by a seeded generator.
`default_nettype none
module tb_sum (
  output logic done_o
);
  import "DPI-C" function void golden_sum_put(input int i, input int x);
  import "DPI-C" function int golden_sum(input int n);

  logic         clk = 1'b0, rst_n = 1'b0, in_valid = 1'b0, in_ready, last = 1'b0, out_valid, out_ready = 1'b0;
  logic [511:0] x = '0, drawn;  // drawn: ports are written whole, or Verilator misses a change
  logic [31:0]  sum, element, elements [0:2047];
  int           seed = 13, waits = 0;

  always #5 clk = !clk;
  acc_fp_sum u_sum (.clk_i(clk), .rst_ni(rst_n), .in_valid_i(in_valid), .in_ready_o(in_ready), .x_i(x), .last_i(last),
                    .out_valid_o(out_valid), .out_ready_i(out_ready), .sum_o(sum));

  // Exponents differ by less than spread: with a small one every bit of every partial counts.
  task automatic one(input int n, input int stall, input int spread);
    int at, cycles;
    logic ended;
    at = 0;
    cycles = 0;
    ended = 1'b0;
    for (int i = 0; i < 2048; i++) begin
      element = tb_pkg::random(seed);
      element[30:23] = 8'd110 + 8'(tb_pkg::random(seed) % 32'(spread));
      elements[i] = i < n ? element : 32'd0;
      if (i < n) golden_sum_put(i, int'(element));
    end
    while (!ended) begin
      in_valid  = at < n && tb_pkg::random(seed) % 8 >= stall;
      out_ready = tb_pkg::random(seed) % 8 >= stall;
      last      = in_valid ? at + 16 >= n : 1'(tb_pkg::random(seed));
      for (int k = 0; k < 16; k++) drawn[k*32 +: 32] = in_valid ? elements[at + k] : tb_pkg::random(seed);
      x = drawn;
      #1;
      if (out_valid && !out_ready) waits++;
      if (out_valid && out_ready) begin
        if (int'(sum) != golden_sum(n)) $fatal(1, "%0d elements: %h, not %h", n, sum, golden_sum(n));
        if (at < n) $fatal(1, "a sum before the last of %0d elements", n);
        ended = 1'b1;
      end
      if (in_valid && in_ready) at += 16;
      cycles++;
      if (cycles > 10000) $fatal(1, "%0d elements: no sum", n);
      @(negedge clk);
    end
    if (stall == 0 && cycles != (n + 15) / 16 + 37) $fatal(1, "%0d elements: %0d cycles", n, cycles);
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int n = 1; n <= 80; n++) one(n, n % 4 * 2, 30);
    one(128, 0, 30);
    one(576, 4, 30);
    one(576, 0, 30);
    one(1999, 2, 30);
    one(2000, 0, 30);
    for (int i = 0; i < 200; i++) one(1 + int'(tb_pkg::random(seed) % 300), i % 4 * 2, 1 + i % 3);
    if (waits < 5) $fatal(1, "the stimulus is too tame: %0d waits", waits);
    $display("ok sum: vectors of 1 to 2000 elements");
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
