// AXI4 write master of a channel: a line with its strobes at a time, each a burst of one beat (what is written is less
// than a hundredth of what is read), up to Outstanding of them unanswered.
//
// Errors are those of acc_axi_rd: the first stays and stops further writes until flush_i finds nothing on the bus.
`default_nettype none
module acc_axi_wr #(
  parameter int unsigned AddrW = 64,
  parameter int unsigned Outstanding = 32,
  parameter int unsigned Timeout = 65536    // cycles
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [AddrW-1:0] base_i,       // of line 0, a multiple of 4096
  input  logic [23:0]      lines_i,      // of the channel
  input  logic             flush_i,
  input  logic             wq_valid_i,
  output logic             wq_ready_o,
  input  logic [23:0]      wq_line_i,
  input  logic [511:0]     wq_data_i,
  input  logic [63:0]      wq_strb_i,
  output logic             idle_o,       // every line taken has been answered
  output acc_pkg::error_e  error_o,
  output logic             wedged_o,     // nothing has moved for Timeout cycles
  output logic             axi_awvalid_o,
  input  logic             axi_awready_i,
  output logic             axi_awid_o,
  output logic [AddrW-1:0] axi_awaddr_o,
  output logic [7:0]       axi_awlen_o,
  output logic [2:0]       axi_awsize_o,
  output logic [1:0]       axi_awburst_o,
  output logic             axi_wvalid_o,
  input  logic             axi_wready_i,
  output logic [511:0]     axi_wdata_o,
  output logic [63:0]      axi_wstrb_o,
  output logic             axi_wlast_o,
  input  logic             axi_bvalid_i,
  output logic             axi_bready_o,
  input  logic             axi_bid_i,
  input  logic [1:0]       axi_bresp_i
);
  localparam int unsigned PendingW = $clog2(Outstanding + 1), CountW = $clog2(Timeout + 1);
  logic [PendingW-1:0] pending_q;
  logic [CountW-1:0]   still_q;
  logic                taken, beyond, write, answer, moved;

  assign wq_ready_o = error_o == acc_pkg::ErrorNone && !flush_i && pending_q != PendingW'(Outstanding) &&
                      (!axi_awvalid_o || axi_awready_i) && (!axi_wvalid_o || axi_wready_i);
  assign taken      = wq_valid_i && wq_ready_o;
  assign beyond     = wq_line_i >= lines_i;
  assign write      = taken && !beyond;

  assign axi_awid_o    = 1'b0;
  assign axi_awlen_o   = 8'd0;
  assign axi_awsize_o  = 3'd6;
  assign axi_awburst_o = 2'b01;
  assign axi_wlast_o   = 1'b1;
  assign axi_bready_o  = 1'b1;
  assign answer        = axi_bvalid_i && pending_q != '0;
  assign moved         = answer || (axi_awvalid_o && axi_awready_i) || (axi_wvalid_o && axi_wready_i);
  assign idle_o        = pending_q == '0;
  assign wedged_o      = still_q == CountW'(Timeout);

  always_ff @(posedge clk_i) begin
    if (write) begin
      axi_awaddr_o <= base_i + (AddrW'(wq_line_i) << 6);
      axi_wdata_o  <= wq_data_i;
      axi_wstrb_o  <= wq_strb_i;
    end
    if (!rst_ni) begin
      axi_awvalid_o <= 1'b0;
      axi_wvalid_o  <= 1'b0;
      pending_q     <= '0;
      still_q       <= '0;
      error_o       <= acc_pkg::ErrorNone;
    end else begin
      axi_awvalid_o <= write || (axi_awvalid_o && !axi_awready_i);
      axi_wvalid_o  <= write || (axi_wvalid_o && !axi_wready_i);
      pending_q     <= pending_q + PendingW'(write) - PendingW'(answer);
      if (moved || idle_o) still_q <= '0;
      else if (!wedged_o) still_q <= still_q + 1'b1;
      if (flush_i && idle_o) error_o <= acc_pkg::ErrorNone;
      else if (error_o == acc_pkg::ErrorNone) begin
        if (axi_bvalid_i && (idle_o || axi_bid_i || axi_bresp_i != 2'b00)) error_o <= acc_pkg::ErrorMemory;
        else if (taken && beyond) error_o <= acc_pkg::ErrorBadAddress;
        else if (wedged_o) error_o <= acc_pkg::ErrorTimeout;
      end
    end
  end
endmodule
`default_nettype wire
