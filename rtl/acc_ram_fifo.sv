// Synchronous FIFO for many words: its memory has a registered read port, as block RAM has. A word can leave two cycles
// after it came; in and out one each cycle. Depth a power of two; one more is in the read port's register.
`default_nettype none
module acc_ram_fifo #(
  parameter int unsigned Width = 512,
  parameter int unsigned Depth = 512
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
  logic             write, read;

  assign in_ready_o = wr_q != {~rd_q[AddrW], rd_q[AddrW-1:0]};
  assign write      = in_valid_i && in_ready_o;
  assign read       = wr_q != rd_q && (!out_valid_o || out_ready_i);

  always_ff @(posedge clk_i) begin
    if (write) mem[wr_q[AddrW-1:0]] <= in_data_i;
    if (read) out_data_o <= mem[rd_q[AddrW-1:0]];
    if (!rst_ni) begin
      wr_q        <= '0;
      rd_q        <= '0;
      out_valid_o <= 1'b0;
    end else begin
      wr_q        <= wr_q + (AddrW + 1)'(write);
      rd_q        <= rd_q + (AddrW + 1)'(read);
      out_valid_o <= read || (out_valid_o && !out_ready_i);
    end
  end
endmodule
`default_nettype wire
