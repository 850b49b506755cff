// A memory channel: its read and its write master, and what shares them.
`default_nettype none
module acc_channel #(
  parameter int unsigned Readers = 2,
  parameter logic [Readers*16-1:0] Depths = {Readers{16'd64}},  // lines of each reader's buffer
  parameter int unsigned Writers = 2,
  parameter int unsigned Timeout = 65536
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   unit_rst_ni,  // of the units and what they have asked for
  input  logic [63:0]            base_i,
  input  logic [23:0]            lines_i,
  input  logic                   flush_i,
  input  logic [Readers-1:0]     rq_valid_i,
  output logic [Readers-1:0]     rq_ready_o,
  input  logic [Readers*24-1:0]  rq_line_i,
  input  logic [Readers*16-1:0]  rq_count_i,
  output logic [Readers-1:0]     rd_valid_o,
  input  logic [Readers-1:0]     rd_ready_i,
  output logic [Readers*512-1:0] rd_data_o,
  input  logic [Writers-1:0]     wq_valid_i,
  output logic [Writers-1:0]     wq_ready_o,
  input  logic [Writers*24-1:0]  wq_line_i,
  input  logic [Writers*512-1:0] wq_data_i,
  input  logic [Writers*64-1:0]  wq_strb_i,
  // of reads, then of writes
  output logic [7:0]             error_o,
  output logic [1:0]             idle_o,
  output logic [1:0]             wedged_o,
  output logic                   axi_arvalid_o,
  input  logic                   axi_arready_i,
  output logic                   axi_arid_o,
  output logic [63:0]            axi_araddr_o,
  output logic [7:0]             axi_arlen_o,
  output logic [2:0]             axi_arsize_o,
  output logic [1:0]             axi_arburst_o,
  input  logic                   axi_rvalid_i,
  output logic                   axi_rready_o,
  input  logic                   axi_rid_i,
  input  logic [511:0]           axi_rdata_i,
  input  logic [1:0]             axi_rresp_i,
  input  logic                   axi_rlast_i,
  output logic                   axi_awvalid_o,
  input  logic                   axi_awready_i,
  output logic                   axi_awid_o,
  output logic [63:0]            axi_awaddr_o,
  output logic [7:0]             axi_awlen_o,
  output logic [2:0]             axi_awsize_o,
  output logic [1:0]             axi_awburst_o,
  output logic                   axi_wvalid_o,
  input  logic                   axi_wready_i,
  output logic [511:0]           axi_wdata_o,
  output logic [63:0]            axi_wstrb_o,
  output logic                   axi_wlast_o,
  input  logic                   axi_bvalid_i,
  output logic                   axi_bready_o,
  input  logic                   axi_bid_i,
  input  logic [1:0]             axi_bresp_i
);
  logic            rq_valid, rq_ready, rd_valid, rd_ready, wq_valid, wq_ready;
  logic [23:0]     rq_line, wq_line;
  logic [15:0]     rq_count;
  logic [511:0]    rd_data, wq_data;
  logic [63:0]     wq_strb;
  acc_pkg::error_e rd_error, wr_error;
  assign error_o = {wr_error, rd_error};

  acc_rd_mux #(.Clients(Readers), .Depths(Depths)) u_rd_mux (
      .clk_i, .rst_ni(unit_rst_ni), .rq_valid_i, .rq_ready_o, .rq_line_i, .rq_count_i, .rd_valid_o, .rd_ready_i,
      .rd_data_o, .rq_valid_o(rq_valid), .rq_ready_i(rq_ready), .rq_line_o(rq_line), .rq_count_o(rq_count),
      .rd_valid_i(rd_valid), .rd_ready_o(rd_ready), .rd_data_i(rd_data));
  acc_axi_rd #(.Timeout(Timeout)) u_rd (
      .clk_i, .rst_ni, .base_i, .lines_i, .flush_i, .rq_valid_i(rq_valid), .rq_ready_o(rq_ready), .rq_line_i(rq_line),
      .rq_count_i(rq_count), .rd_valid_o(rd_valid), .rd_ready_i(rd_ready), .rd_data_o(rd_data), .idle_o(idle_o[0]),
      .error_o(rd_error), .wedged_o(wedged_o[0]), .axi_arvalid_o, .axi_arready_i, .axi_arid_o, .axi_araddr_o,
      .axi_arlen_o, .axi_arsize_o, .axi_arburst_o, .axi_rvalid_i, .axi_rready_o, .axi_rid_i, .axi_rdata_i, .axi_rresp_i,
      .axi_rlast_i);

  acc_wr_mux #(.Clients(Writers)) u_wr_mux (
      .clk_i, .rst_ni(unit_rst_ni), .wq_valid_i, .wq_ready_o, .wq_line_i, .wq_data_i, .wq_strb_i, .wq_valid_o(wq_valid),
      .wq_ready_i(wq_ready), .wq_line_o(wq_line), .wq_data_o(wq_data), .wq_strb_o(wq_strb));
  acc_axi_wr #(.Timeout(Timeout)) u_wr (
      .clk_i, .rst_ni, .base_i, .lines_i, .flush_i, .wq_valid_i(wq_valid), .wq_ready_o(wq_ready), .wq_line_i(wq_line),
      .wq_data_i(wq_data), .wq_strb_i(wq_strb), .idle_o(idle_o[1]), .error_o(wr_error), .wedged_o(wedged_o[1]),
      .axi_awvalid_o, .axi_awready_i, .axi_awid_o, .axi_awaddr_o, .axi_awlen_o, .axi_awsize_o, .axi_awburst_o,
      .axi_wvalid_o, .axi_wready_i, .axi_wdata_o, .axi_wstrb_o, .axi_wlast_o, .axi_bvalid_i, .axi_bready_o, .axi_bid_i,
      .axi_bresp_i);
endmodule
`default_nettype wire
