// acc_bcast and acc_collect at 1, 2 and 4 channels: every channel gets every word once and in order; of numbered rows
// from the channels come those of the layer's blocks, in order. Every port is stalled by a seeded generator.
`default_nettype none
module tb_channels (
  output logic done_o
);
  logic [2:0] done;
  tb_channels_of #(.Channels(1), .Slices(0)) u_one (.done_o(done[0]));
  tb_channels_of #(.Channels(2), .Slices(1)) u_two (.done_o(done[1]));
  tb_channels_of #(.Channels(4), .Slices(2)) u_four (.done_o(done[2]));
  initial begin
    done_o = 1'b0;
    wait (done == 3'b111);
    $display("ok channels: 1, 2 and 4");
    done_o = 1'b1;
  end
endmodule

module tb_channels_of #(
  parameter int unsigned Channels = 1,
  parameter int unsigned Slices = 0
) (
  output logic done_o
);
  logic                    clk = 1'b0, rst_n = 1'b0, in_valid = 1'b0, in_ready;
  logic [31:0]             in_data = '0;
  logic [Channels-1:0]     valid, ready = '0, row_valid = '0, row_ready;
  logic [Channels*32-1:0]  data;
  logic [Channels*128-1:0] rows = '0, drawn;  // drawn: ports are written whole, or Verilator misses a change
  logic [Channels-1:0]     chosen;
  logic [15:0]             blocks = 16'd1, block;
  logic                    out_valid, out_ready = 1'b0, layer_done;
  logic [127:0]            out;
  logic [3:0]              beat;
  int                      seed = 11 + int'(Channels);

  always #5 clk = !clk;
  acc_bcast #(.Channels(Channels), .Depth(4), .Slices(Slices)) u_bcast (
      .clk_i(clk), .rst_ni(rst_n), .in_valid_i(in_valid), .in_ready_o(in_ready), .in_data_i(in_data),
      .out_valid_o(valid), .out_ready_i(ready), .out_data_o(data));
  acc_collect #(.Channels(Channels), .Slices(Slices)) u_collect (
      .clk_i(clk), .rst_ni(rst_n), .blocks_i(blocks), .in_valid_i(row_valid), .in_ready_o(row_ready), .in_data_i(rows),
      .out_valid_o(out_valid), .out_ready_i(out_ready), .out_data_o(out), .out_block_o(block), .out_beat_o(beat),
      .done_o(layer_done));

  function automatic logic go(input int stall);
    go = tb_pkg::random(seed) % 8 >= stall;
  endfunction
  function automatic logic [31:0] scramble(input int i);
    scramble = 32'(i) * 32'h9e3779b1;
  endfunction

  int got [0:Channels-1], sent, slow, widest;
  task automatic broadcast(input int words);
    int least;
    sent = 0;
    least = 0;
    widest = 0;
    for (int c = 0; c < int'(Channels); c++) got[c] = 0;
    while (least < words) begin
      slow     = sent / 100 % int'(Channels);  // one channel is slower than the others for a while
      in_valid = sent < words && go(sent / 500 % 2 * 4);
      in_data  = in_valid ? scramble(sent) : tb_pkg::random(seed);
      for (int c = 0; c < int'(Channels); c++) chosen[c] = go(c == slow ? 6 : 2);
      ready = chosen;
      #1;
      least = words;
      for (int c = 0; c < int'(Channels); c++) begin
        if (valid[c] && ready[c]) begin
          if (data[c*32 +: 32] != scramble(got[c])) $fatal(1, "channel %0d, word %0d: %h", c, got[c], data[c*32 +: 32]);
          got[c]++;
        end
        if (got[c] < least) least = got[c];
      end
      if (in_valid && in_ready) sent++;
      for (int c = 0; c < int'(Channels); c++) if (got[c] - least > widest) widest = got[c] - least;
      @(negedge clk);
    end
    {in_valid, ready} = '0;
    if (sent != words || valid != '0) $fatal(1, "%0d words of %0d, valid %b", sent, words, valid);
    if (Channels > 1 && widest < 3) $fatal(1, "channels never ran apart");
  endtask

  int beats [0:Channels-1];  // of each channel's part of the layer
  task automatic layer(input int n, input int stall);
    int own, seen, cycles;
    logic ended;
    own    = (n + int'(Channels) - 1) / int'(Channels);
    seen   = 0;
    cycles = 0;
    ended  = 1'b0;
    blocks = 16'(n);
    for (int c = 0; c < int'(Channels); c++) beats[c] = 0;
    while (!ended) begin
      out_ready = go(stall);
      for (int c = 0; c < int'(Channels); c++) begin
        chosen[c] = beats[c] < own * 16 && go(stall);
        for (int k = 0; k < 4; k++)
          drawn[c*128 + k*32 +: 32] = scramble(((beats[c] / 16 * int'(Channels) + c) * 16 + beats[c] % 16) * 4 + k);
      end
      row_valid = chosen;
      rows      = drawn;
      #1;
      if (out_valid && out_ready) begin
        if (int'(block) != seen / 16 || int'(beat) != seen % 16) $fatal(1, "beat %0d: block %0d, beat %0d", seen, block, beat);
        for (int k = 0; k < 4; k++)
          if (out[k*32 +: 32] != scramble(seen * 4 + k)) $fatal(1, "beat %0d of %0d blocks: %h", seen, n, out);
        seen++;
      end
      ended = layer_done;
      for (int c = 0; c < int'(Channels); c++) if (row_valid[c] && row_ready[c]) beats[c]++;
      cycles++;
      if (cycles > 100000) $fatal(1, "stands still at beat %0d", seen);
      @(negedge clk);
    end
    {row_valid, out_ready} = '0;
    if (seen != 16 * n) $fatal(1, "%0d beats of %0d", seen, 16 * n);
    for (int c = 0; c < int'(Channels); c++) if (beats[c] != own * 16) $fatal(1, "channel %0d: %0d beats", c, beats[c]);
    if (stall == 0 && cycles > own * int'(Channels) * 16 + int'(Slices)) $fatal(1, "%0d cycles for %0d blocks", cycles, n);
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    broadcast(3000);
    for (int n = 1; n < 14; n++) layer(n, n % 4 * 2);
    for (int n = 14; n > 0; n--) layer(n, n % 3 * 2);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
