// Synchronous FIFO, first word falls through. Depth a power of two.
`default_nettype none
module acc_fifo #(
  parameter int unsigned Width = 512,
  parameter int unsigned Depth = 16
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             in_valid_i,
  output logic             in_ready_o,
  input  logic [Width-1:0] in_data_i,
  output logic             out_valid_o,
  input  logic             out_ready_i,
  output logic [Width-1:0] out_data_o
);
  localparam int unsigned AddrW = $clog2(Depth);

  logic [Width-1:0] mem [0:Depth-1];
  logic [AddrW:0]   wr_q, rd_q;  // one bit more than an address: full and empty differ

  assign in_ready_o  = (wr_q[AddrW] == rd_q[AddrW]) || (wr_q[AddrW-1:0] != rd_q[AddrW-1:0]);
  assign out_valid_o = wr_q != rd_q;
  assign out_data_o  = mem[rd_q[AddrW-1:0]];

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) mem[wr_q[AddrW-1:0]] <= in_data_i;
    if (!rst_ni) begin
      wr_q <= '0;
      rd_q <= '0;
    end else begin
      wr_q <= wr_q + (AddrW + 1)'(in_valid_i && in_ready_o);
      rd_q <= rd_q + (AddrW + 1)'(out_valid_o && out_ready_i);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   out_valid_o && !out_ready_i |=> out_valid_o && $stable(out_data_o));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   (AddrW + 1)'(wr_q - rd_q) <= (AddrW + 1)'(Depth));
`endif
endmodule
`default_nettype wire
