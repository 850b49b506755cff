// One bench, named by the macro BENCH. It prints a line; a failure ends the program.
`default_nettype none
module tb;
  logic done;
  `BENCH u_bench (.done_o(done));
  initial begin
    wait (done);
    $finish;
  end
`ifdef COVERAGE
  final $c("Verilated::threadContextp()->coveragep()->write(\"coverage.dat\");");  // --main does not
`endif
endmodule
`default_nettype wire
