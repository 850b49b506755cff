// acc_fifo against a queue: random pushes and pops, both sides stalled by a seeded generator, filled and emptied.
`default_nettype none
module tb_fifo (
  output logic done_o
);
  logic        clk = 1'b0, rst_n = 1'b0, in_valid = 1'b0, in_ready, out_valid, out_ready = 1'b0;
  logic [15:0] in_data = '0, out_data;
  logic [15:0] want [$];
  int          seed = 3, pops = 0, full = 0;

  always #5 clk = !clk;
  acc_fifo #(.Width(16), .Depth(8)) u_fifo (.clk_i(clk), .rst_ni(rst_n), .in_valid_i(in_valid), .in_ready_o(in_ready),
                                            .in_data_i(in_data), .out_valid_o(out_valid), .out_ready_i(out_ready),
                                            .out_data_o(out_data));

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    for (int i = 0; i < 20000; i++) begin
      // Phases in which one side is slow, so that the FIFO runs full and empty.
      in_valid  = tb_pkg::random(seed) % 8 < ((i / 500) % 2 == 0 ? 7 : 2);
      out_ready = tb_pkg::random(seed) % 8 < ((i / 500) % 2 == 0 ? 2 : 7);
      in_data   = 16'(tb_pkg::random(seed));
      #1;
      if (out_valid != (want.size() > 0)) $fatal(1, "out_valid %0d with %0d words inside", out_valid, want.size());
      if (in_ready != (want.size() < 8)) $fatal(1, "in_ready %0d with %0d words inside", in_ready, want.size());
      if (out_valid && out_data != want[0]) $fatal(1, "%h instead of %h", out_data, want[0]);
      if (want.size() == 8) full++;
      if (out_valid && out_ready) begin
        void'(want.pop_front());
        pops++;
      end
      if (in_valid && in_ready) want.push_back(in_data);
      @(negedge clk);
    end
    if (full < 100 || pops < 1000) $fatal(1, "the stimulus is too tame: %0d times full, %0d pops", full, pops);
    $display("ok fifo: %0d words", pops);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
