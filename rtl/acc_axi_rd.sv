// AXI4 read master of a channel: requests of a line and a count, cut at multiples of 16 lines, so that a burst has at
// most 16 beats of 64 bytes and never crosses 4 KB. Answers go on as they come, in order (one id), and are held up only
// by rd_ready_i.
//
// The first error stays and stops further bursts; lines that were asked for still come. MEMORY: an answer that is not
// OKAY, is not the last where it must be or the other way round, or was not asked for. BAD_ADDRESS: a request beyond the
// channel, of which nothing reaches the bus. TIMEOUT: nothing moved for Timeout cycles although it is the memory's turn.
// flush_i drops what was asked for; what is on the bus is finished first. With nothing left there the error is gone.
`default_nettype none
module acc_axi_rd #(
  parameter int unsigned AddrW = 64,
  parameter int unsigned BurstLines = 16,   // a power of two up to 64
  parameter int unsigned Outstanding = 32,  // bursts; a power of two
  parameter int unsigned Timeout = 65536    // cycles
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [AddrW-1:0] base_i,       // of line 0, a multiple of 4096
  input  logic [23:0]      lines_i,      // of the channel
  input  logic             flush_i,
  input  logic             rq_valid_i,
  output logic             rq_ready_o,
  input  logic [23:0]      rq_line_i,
  input  logic [15:0]      rq_count_i,   // 0: nothing is asked for
  output logic             rd_valid_o,
  input  logic             rd_ready_i,
  output logic [511:0]     rd_data_o,
  output logic             idle_o,       // nothing is under way
  output acc_pkg::error_e  error_o,
  output logic             wedged_o,     // nothing has moved for Timeout cycles
  output logic             axi_arvalid_o,
  input  logic             axi_arready_i,
  output logic             axi_arid_o,
  output logic [AddrW-1:0] axi_araddr_o,
  output logic [7:0]       axi_arlen_o,
  output logic [2:0]       axi_arsize_o,
  output logic [1:0]       axi_arburst_o,
  input  logic             axi_rvalid_i,
  output logic             axi_rready_o,
  input  logic             axi_rid_i,
  input  logic [511:0]     axi_rdata_i,
  input  logic [1:0]       axi_rresp_i,
  input  logic             axi_rlast_i
);
  localparam int unsigned PlaceW = $clog2(BurstLines), CountW = $clog2(Timeout + 1);

  // Requests into bursts.
  logic [23:0]       line_q;
  logic [15:0]       left_q;
  logic [PlaceW:0]   to_boundary, beats;
  logic              good, issue, asked, beyond, burst_room;
  assign to_boundary = (PlaceW + 1)'(BurstLines) - {1'b0, line_q[PlaceW-1:0]};
  assign beats       = left_q < 16'(to_boundary) ? left_q[PlaceW:0] : to_boundary;
  assign good        = error_o == acc_pkg::ErrorNone && !flush_i;
  assign issue       = good && left_q != '0 && burst_room && (!axi_arvalid_o || axi_arready_i);
  assign rq_ready_o  = good && (left_q == '0 || (issue && left_q == 16'(beats)));
  assign asked       = rq_valid_i && rq_ready_o;
  assign beyond      = 25'(rq_line_i) + 25'(rq_count_i) > 25'(lines_i);

  assign axi_arid_o    = 1'b0;
  assign axi_arsize_o  = 3'd6;
  assign axi_arburst_o = 2'b01;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      left_q        <= '0;
      axi_arvalid_o <= 1'b0;
    end else begin
      if (flush_i) left_q <= '0;
      else if (asked) left_q <= rq_count_i;  // one beyond the channel makes an error, which stops bursts
      else if (issue) left_q <= left_q - 16'(beats);
      if (issue) axi_arvalid_o <= 1'b1;
      else if (axi_arready_i) axi_arvalid_o <= 1'b0;
    end
    if (asked) line_q <= rq_line_i;
    else if (issue) line_q <= line_q + 24'(beats);
    if (issue) begin
      axi_araddr_o <= base_i + (AddrW'(line_q) << 6);
      axi_arlen_o  <= 8'(beats) - 8'd1;
    end
  end

  // Answers; the lengths of the bursts that they belong to wait here.
  logic [PlaceW-1:0] all_but_one, last, beat_q;
  logic              due, answer, wrong;
  assign all_but_one  = PlaceW'(beats - 1'b1);
  acc_fifo #(.Width(PlaceW), .Depth(Outstanding)) u_bursts (
      .clk_i, .rst_ni, .in_valid_i(issue), .in_ready_o(burst_room), .in_data_i(all_but_one),
      .out_valid_o(due), .out_ready_i(answer && beat_q == last), .out_data_o(last));
  assign rd_valid_o   = axi_rvalid_i && due && !flush_i;
  assign rd_data_o    = axi_rdata_i;
  assign axi_rready_o = due && (rd_ready_i || flush_i);
  assign answer       = axi_rvalid_i && axi_rready_o;
  assign wrong        = (axi_rvalid_i && !due) ||
                        (answer && (axi_rresp_i != 2'b00 || axi_rid_i || axi_rlast_i != (beat_q == last)));
  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (answer) beat_q <= beat_q == last ? '0 : beat_q + 1'b1;
  end

  // Errors and the watchdog, which counts only while it is the memory's turn.
  logic [CountW-1:0] still_q;
  logic              held, moved;
  assign held     = axi_rvalid_i && due && !axi_rready_o;
  assign moved    = answer || (axi_arvalid_o && axi_arready_i);
  assign wedged_o = still_q == CountW'(Timeout);
  assign idle_o   = left_q == '0 && !axi_arvalid_o && !due;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      still_q <= '0;
      error_o <= acc_pkg::ErrorNone;
    end else begin
      if (held || moved || (!axi_arvalid_o && !due)) still_q <= '0;
      else if (!wedged_o) still_q <= still_q + 1'b1;
      if (flush_i && idle_o) error_o <= acc_pkg::ErrorNone;
      else if (error_o == acc_pkg::ErrorNone) begin
        if (wrong) error_o <= acc_pkg::ErrorMemory;
        else if (asked && beyond) error_o <= acc_pkg::ErrorBadAddress;
        else if (wedged_o) error_o <= acc_pkg::ErrorTimeout;
      end
    end
  end
endmodule
`default_nettype wire
