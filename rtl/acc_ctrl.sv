// AXI4-Lite slave with the registers of rtl/isa.toml; to 0x0c the Vitis kernel map: start stands until the run is done,
// done and ready are set then and cleared by reading. A write with no register at its address changes nothing, a read there
// gives 0; both are answered OKAY. Arguments and geometry are constant during a run: writes to them are lost then.
`default_nettype none
module acc_ctrl #(
  parameter int unsigned Channels = 1,
  parameter int unsigned Lines = acc_pkg::ChannelLines
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            axil_awvalid_i,
  output logic            axil_awready_o,
  input  logic [7:0]      axil_awaddr_i,
  input  logic            axil_wvalid_i,
  output logic            axil_wready_o,
  input  logic [31:0]     axil_wdata_i,
  input  logic [3:0]      axil_wstrb_i,
  output logic            axil_bvalid_o,
  input  logic            axil_bready_i,
  output logic [1:0]      axil_bresp_o,
  input  logic            axil_arvalid_i,
  output logic            axil_arready_o,
  input  logic [7:0]      axil_araddr_i,
  output logic            axil_rvalid_o,
  input  logic            axil_rready_i,
  output logic [31:0]     axil_rdata_o,
  output logic [1:0]      axil_rresp_o,
  output logic            interrupt_o,
  // the run
  output logic            start_o,           // a pulse
  input  logic            done_i,            // a pulse
  input  logic [3:0]      error_i,           // acc_pkg::error_e
  input  logic [12:0]     error_at_i,
  input  logic [15:0]     error_round_i,
  input  logic [4:0]      error_channel_i,
  input  logic            best_valid_i,      // a TOP has found
  input  logic [31:0]     best_token_i,
  output logic            geometry_valid_o,  // 12 cycles after start_o
  output logic            geometry_bad_o,    // the widths below hold what is not bad
  output logic [31:0]     token_o,
  output logic [63:0]     position_o,
  output logic [31:0]     ring_page_o,       // the cache's units refuse these two where they are beyond their rings
  output logic [31:0]     near_slot_o,
  output logic            want_logits_o,
  output logic [10:0]     heads_o,
  output logic [10:0]     kv_heads_o,
  output logic [8:0]      head_dim_o,
  output logic [12:0]     page_o,
  output logic [10:0]     sinks_o,
  output logic [22:0]     window_o,
  output logic [8:0]      near_o,
  output logic [3:0]      kv_bits_o,
  output logic [18:0]     ring_pages_o,
  output logic [8:0]      near_positions_o,
  output logic [23:0]     rope_o,
  output logic [31:0]     attention_scale_o,
  output logic [31:0]     norm_epsilon_o
);
  localparam logic [31:0] Magic = 32'h4c434341;  // "ACCL"
  localparam int unsigned First = 32'(acc_pkg::RegToken) / 4, Last = 32'(acc_pkg::RegNormEpsilon) / 4;
  localparam int unsigned Words = Last - First + 1;

  // Arguments and geometry, a word each.
  logic [Words*32-1:0] args_q;
  assign token_o           = args_q[(32'(acc_pkg::RegToken) / 4 - First)*32 +: 32];
  assign position_o        = {args_q[(32'(acc_pkg::RegPositionHigh) / 4 - First)*32 +: 32],
                              args_q[(32'(acc_pkg::RegPositionLow) / 4 - First)*32 +: 32]};
  assign ring_page_o       = args_q[(32'(acc_pkg::RegRingPage) / 4 - First)*32 +: 32];
  assign near_slot_o       = args_q[(32'(acc_pkg::RegNearSlot) / 4 - First)*32 +: 32];
  assign want_logits_o     = args_q[(32'(acc_pkg::RegWantLogits) / 4 - First)*32 +: 32] != '0;
  assign heads_o           = args_q[(32'(acc_pkg::RegHeads) / 4 - First)*32 +: 11];
  assign kv_heads_o        = args_q[(32'(acc_pkg::RegKvHeads) / 4 - First)*32 +: 11];
  assign head_dim_o        = args_q[(32'(acc_pkg::RegHeadDim) / 4 - First)*32 +: 9];
  assign page_o            = args_q[(32'(acc_pkg::RegPage) / 4 - First)*32 +: 13];
  assign sinks_o           = args_q[(32'(acc_pkg::RegSinks) / 4 - First)*32 +: 11];
  assign window_o          = args_q[(32'(acc_pkg::RegWindow) / 4 - First)*32 +: 23];
  assign near_o            = args_q[(32'(acc_pkg::RegNear) / 4 - First)*32 +: 9];
  assign kv_bits_o         = args_q[(32'(acc_pkg::RegKvBits) / 4 - First)*32 +: 4];
  assign ring_pages_o      = args_q[(32'(acc_pkg::RegRingPages) / 4 - First)*32 +: 19];
  assign near_positions_o  = args_q[(32'(acc_pkg::RegNearPositions) / 4 - First)*32 +: 9];
  assign rope_o            = args_q[(32'(acc_pkg::RegRope) / 4 - First)*32 +: 24];
  assign attention_scale_o = args_q[(32'(acc_pkg::RegAttentionScale) / 4 - First)*32 +: 32];
  assign norm_epsilon_o    = args_q[(32'(acc_pkg::RegNormEpsilon) / 4 - First)*32 +: 32];

  acc_geometry u_geometry (
      .clk_i, .rst_ni, .start_i(start_o), .heads_i(args_q[(32'(acc_pkg::RegHeads) / 4 - First)*32 +: 32]),
      .kv_heads_i(args_q[(32'(acc_pkg::RegKvHeads) / 4 - First)*32 +: 32]),
      .head_dim_i(args_q[(32'(acc_pkg::RegHeadDim) / 4 - First)*32 +: 32]),
      .page_i(args_q[(32'(acc_pkg::RegPage) / 4 - First)*32 +: 32]),
      .sinks_i(args_q[(32'(acc_pkg::RegSinks) / 4 - First)*32 +: 32]),
      .window_i(args_q[(32'(acc_pkg::RegWindow) / 4 - First)*32 +: 32]),
      .near_i(args_q[(32'(acc_pkg::RegNear) / 4 - First)*32 +: 32]),
      .kv_bits_i(args_q[(32'(acc_pkg::RegKvBits) / 4 - First)*32 +: 32]),
      .ring_pages_i(args_q[(32'(acc_pkg::RegRingPages) / 4 - First)*32 +: 32]),
      .near_positions_i(args_q[(32'(acc_pkg::RegNearPositions) / 4 - First)*32 +: 32]),
      .valid_o(geometry_valid_o), .bad_o(geometry_bad_o));

  // Writes: address and data are taken together.
  logic        write, start_q, started_q, done_q, ready_q, irq_global_q, irq_enable_q, irq_status_q;
  logic        read, read_control;
  logic [31:0] best_q;  // of the last TOP, 0 before the first
  assign write          = axil_awvalid_i && axil_wvalid_i && !axil_bvalid_o;
  assign axil_awready_o = write;
  assign axil_wready_o  = write;
  assign axil_bresp_o   = 2'b00;
  for (genvar k = 0; k < Words; k++) begin : gen_arg
    for (genvar b = 0; b < 4; b++) begin : gen_byte
      always_ff @(posedge clk_i) begin
        if (!rst_ni) args_q[k*32 + b*8 +: 8] <= '0;
        else if (write && axil_awaddr_i == 8'(4 * (First + k)) && axil_wstrb_i[b] && !start_q)
          args_q[k*32 + b*8 +: 8] <= axil_wdata_i[b*8 +: 8];
      end
    end
  end

  // Control; what is set at done outlives a read of the same cycle.
  logic bit0;
  assign bit0         = write && axil_wstrb_i[0] && axil_wdata_i[0];
  assign read         = axil_arvalid_i && axil_arready_o;
  assign read_control = read && axil_araddr_i == acc_pkg::RegControl;
  assign start_o      = start_q && !started_q;
  assign interrupt_o  = irq_global_q && irq_status_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {start_q, started_q, done_q, ready_q} <= '0;
      {irq_global_q, irq_enable_q, irq_status_q, axil_bvalid_o} <= '0;
      best_q <= '0;
    end else begin
      axil_bvalid_o <= write || (axil_bvalid_o && !axil_bready_i);
      if (done_i) start_q <= 1'b0;
      else if (bit0 && axil_awaddr_i == acc_pkg::RegControl) start_q <= 1'b1;
      started_q <= start_q && !done_i;
      if (best_valid_i) best_q <= best_token_i;
      done_q    <= done_i || (done_q && !read_control);
      ready_q   <= done_i || (ready_q && !read_control);
      if (write && axil_wstrb_i[0] && axil_awaddr_i == acc_pkg::RegIrqGlobal) irq_global_q <= axil_wdata_i[0];
      if (write && axil_wstrb_i[0] && axil_awaddr_i == acc_pkg::RegIrqEnable) irq_enable_q <= axil_wdata_i[0];
      irq_status_q <= (done_i && irq_enable_q) || (irq_status_q && !(bit0 && axil_awaddr_i == acc_pkg::RegIrqStatus));
    end
  end

  // Reads.
  logic [31:0] word;
  assign axil_arready_o = !axil_rvalid_o;
  assign axil_rresp_o   = 2'b00;
  always_comb begin
    case (axil_araddr_i)
      acc_pkg::RegControl:      word = {28'd0, ready_q, !start_q, done_q, start_q};
      acc_pkg::RegIrqGlobal:    word = 32'(irq_global_q);
      acc_pkg::RegIrqEnable:    word = 32'(irq_enable_q);
      acc_pkg::RegIrqStatus:    word = 32'(irq_status_q);
      acc_pkg::RegError:        word = 32'(error_i);
      acc_pkg::RegErrorAt:      word = 32'(error_at_i);
      acc_pkg::RegErrorRound:   word = 32'(error_round_i);
      acc_pkg::RegErrorChannel: word = 32'(error_channel_i);
      acc_pkg::RegBestToken:    word = best_q;
      acc_pkg::RegCapMagic:     word = Magic;
      acc_pkg::RegCapVersion:   word = acc_pkg::Version;
      acc_pkg::RegCapChannels:  word = Channels;
      acc_pkg::RegCapLanes:     word = acc_pkg::Lanes;
      acc_pkg::RegCapTokens:    word = acc_pkg::Tokens;
      acc_pkg::RegCapLines:     word = Lines;
      default:                  word = '0;
    endcase
    for (int unsigned k = 0; k < Words; k++) if (axil_araddr_i == 8'(4 * (First + k))) word = args_q[k*32 +: 32];
  end
  always_ff @(posedge clk_i) begin
    if (read) axil_rdata_o <= word;
    if (!rst_ni) axil_rvalid_o <= 1'b0;
    else axil_rvalid_o <= read || (axil_rvalid_o && !axil_rready_i);
  end
endmodule
`default_nettype wire
