// All benches in one program: they share a build. Each prints a line of its own; a failure ends the program.
`default_nettype none
module tb;
  logic [2:0] done;
  tb_lane u_lane (.done_o(done[0]));
  tb_fifo u_fifo (.done_o(done[1]));
  tb_engine u_engine (.done_o(done[2]));
  initial begin
    wait (done == 3'b111);
    $finish;
  end
endmodule
`default_nettype wire
