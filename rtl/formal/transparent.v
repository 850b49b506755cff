// Registers as wires: what a pipeline makes of its inputs, without time.
(* techmap_celltype = "$dff" *)
module transparent_dff (D, CLK, Q);
  parameter WIDTH = 0;
  parameter CLK_POLARITY = 1;
  input [WIDTH-1:0] D;
  input CLK;
  output [WIDTH-1:0] Q;
  assign Q = D;
endmodule
