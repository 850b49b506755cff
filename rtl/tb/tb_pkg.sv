// What the benches share.
`default_nettype none
package tb_pkg;
  // How many times as many cases the slow benches run (scripts/rtl-test).
`ifdef MORE
  localparam int More = `MORE;
`else
  localparam int More = 1;
`endif
  // The next 32 random bits. Verilator's own $random(seed) is back where it was after 28 draws: it starts a generator
  // anew from each seed.
  function automatic logic [31:0] random(inout int seed);
    logic [31:0] x;
    seed += 32'h9e3779b9;
    x = seed;
    x = (x ^ (x >> 16)) * 32'h7feb352d;
    x = (x ^ (x >> 15)) * 32'h846ca68b;
    random = x ^ (x >> 16);
  endfunction
endpackage
`default_nettype wire
