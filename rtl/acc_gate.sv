// A unit's clock, stopped while the unit has nothing to do: Rest cycles after busy_i fell until it rises again, never during
// reset. It follows what was so at the falling edge, so that no pulse is cut short and no cycle lost (under another gate's
// clock it wakes a cycle after that one); Rest is longer than any pipeline. For simulation, where what stands still costs
// nothing; synthesis leaves the clock as it is.
`default_nettype none
module acc_gate #(
  parameter int unsigned Rest = 63
) (
  input  logic clk_i,
  input  logic rst_ni,   // the unit's
  input  logic busy_i,   // of registers; set with the command at the latest
  input  logic moves_i,  // something is offered to the unit or by it: never while its clock stands
  output logic clk_o
);
`ifdef SYNTHESIS
  assign clk_o = clk_i;
  logic unused;
  assign unused = ^{rst_ni, busy_i, moves_i};
`else
  localparam int unsigned RestW = $clog2(Rest + 1);
  logic [RestW-1:0] left_q;
  logic             on_q;
  logic             open = 1'b0;  // by a bench: the clock never stops
  always_ff @(posedge clk_i) left_q <= !rst_ni || busy_i ? RestW'(Rest) : left_q - RestW'(left_q != '0);
  always_ff @(negedge clk_i) on_q <= !rst_ni || busy_i || left_q != '0 || open;
  assign clk_o = clk_i && on_q;
  assert property (@(posedge clk_i) disable iff (!rst_ni) !on_q |-> !moves_i);
`endif
endmodule
`default_nettype wire
