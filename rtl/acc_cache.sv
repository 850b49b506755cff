// The cache queue: KVW and ATT, one at a time, behind one set of ports. Its reads are of one channel at a time and their
// lines come in the order of the requests, whatever the channels: a queue remembers which is next.
//
// ATT borrows multipliers (kv_*): it begins only while hold_i is low, and lent_o stands until it has ended.
`default_nettype none
module acc_cache #(
  parameter int unsigned Channels = 1,  // a power of two
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  acc_unit_pkg::settings_t settings_i,   // constant during a run
  input  logic [22:0]             lines_i,      // of a channel
  input  logic                    hold_i,
  output logic                    lent_o,
  input  logic                    cmd_valid_i,
  output logic                    cmd_ready_o,
  input  logic [127:0]            cmd_i,
  output logic                    done_o,
  output acc_pkg::error_e         error_o,      // with done_o; its channel is 0
  // vector memory
  output logic                    r_valid_o,
  input  logic                    r_ready_i,
  output logic [11:0]             r_addr_o,
  input  logic                    q_valid_i,
  input  logic [511:0]            q_data_i,
  output logic                    w_valid_o,
  input  logic                    w_ready_i,
  output logic [11:0]             w_addr_o,
  output logic [511:0]            w_data_o,
  output logic [15:0]             w_mask_o,
  // memory
  output logic [Channels-1:0]     rq_valid_o,
  input  logic [Channels-1:0]     rq_ready_i,
  output logic [23:0]             rq_line_o,    // of all channels, as their count
  output logic [15:0]             rq_count_o,
  input  logic [Channels-1:0]     rd_valid_i,
  output logic [Channels-1:0]     rd_ready_o,
  input  logic [Channels*512-1:0] rd_data_i,
  output logic                    wq_valid_o,
  input  logic                    wq_ready_i,
  output logic [ChannelW-1:0]     wq_channel_o,
  output logic [23:0]             wq_line_o,
  output logic [511:0]            wq_data_o,
  output logic [63:0]             wq_strb_o,
  input  logic [Channels-1:0]     w_idle_i,     // every line that a channel took is written
  // multipliers (acc_engine)
  output logic                    kv_valid_o,
  output logic                    kv_four_o,
  output logic                    kv_eight_o,
  output logic [511:0]            kv_line_o,
  output logic [71:0]             kv_operands_o,
  input  logic                    kv_sums_valid_i,
  input  logic [287:0]            kv_low_i,
  input  logic [255:0]            kv_high_i
);
  localparam int unsigned LineW = acc_unit_pkg::LineW;
  localparam int unsigned Requests = 16;  // under way
  logic writer_q;                         // KVW is the present or the last one
  logic writes, kvw_ready, att_ready, kvw_done, att_done;
  acc_pkg::error_e kvw_error, att_error;
  assign writes      = cmd_i[127:124] == acc_pkg::OpKvw;
  assign cmd_ready_o = kvw_ready && att_ready && (writes || !hold_i);
  assign lent_o      = !att_ready;
  assign done_o      = kvw_done || att_done;
  assign error_o     = writer_q ? kvw_error : att_error;
  always_ff @(posedge clk_i) if (cmd_valid_i && cmd_ready_o) writer_q <= writes;

  // ---- reads ----
  logic                kvw_rq, att_rq, rq_valid, rq_ready, rd_valid, rd_ready, kvw_rd_ready, att_rd_ready;
  logic [ChannelW-1:0] kvw_channel, att_channel, channel, owner;
  logic [LineW-1:0]    kvw_line, att_line;
  logic [15:0]         kvw_count, att_count, count, at_q;
  logic                order_room, due, last;
  logic [511:0]        rd_data;
  assign rq_valid   = writer_q ? kvw_rq : att_rq;
  assign channel    = writer_q ? kvw_channel : att_channel;
  assign rq_line_o  = writer_q ? 24'(kvw_line) : 24'(att_line);
  assign rq_count_o = writer_q ? kvw_count : att_count;
  assign rq_ready   = order_room && rq_ready_i[channel];
  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    assign rq_valid_o[c] = rq_valid && order_room && channel == ChannelW'(c);
    assign rd_ready_o[c] = due && rd_ready && owner == ChannelW'(c);
  end
  acc_fifo #(.Width(ChannelW + 16), .Depth(Requests)) u_order (
      .clk_i, .rst_ni, .in_valid_i(rq_valid && rq_ready_i[channel]), .in_ready_o(order_room),
      .in_data_i({channel, rq_count_o}), .out_valid_o(due), .out_ready_i(rd_valid && rd_ready && last),
      .out_data_o({owner, count}));
  assign rd_valid = due && rd_valid_i[owner];
  assign rd_data  = rd_data_i[owner*512 +: 512];
  assign rd_ready = writer_q ? kvw_rd_ready : att_rd_ready;
  assign last     = at_q + 16'd1 == count;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) at_q <= '0;
    else if (rd_valid && rd_ready) at_q <= last ? '0 : at_q + 16'd1;
  end

  // ---- units ----
  logic             kvw_r, att_r, clk_kvw, clk_att;
  logic [11:0]      kvw_addr, att_addr;
  logic [LineW-1:0] line;
  assign r_valid_o = writer_q ? kvw_r : att_r;
  assign r_addr_o  = writer_q ? kvw_addr : att_addr;
  assign wq_line_o = 24'(line);
  logic to_kvw, to_att;
  assign to_kvw = cmd_valid_i && cmd_ready_o && writes;
  assign to_att = cmd_valid_i && cmd_ready_o && !writes;
  acc_gate u_gate_kvw (.clk_i, .rst_ni, .busy_i(!kvw_ready || to_kvw),
                       .moves_i(to_kvw || kvw_r || kvw_rq || wq_valid_o || kvw_done || (writer_q && (q_valid_i || rd_valid))),
                       .clk_o(clk_kvw));
  acc_gate u_gate_att (.clk_i, .rst_ni, .busy_i(!att_ready || to_att),
                       .moves_i(to_att || att_r || att_rq || w_valid_o || kv_valid_o || att_done ||
                                (!writer_q && (q_valid_i || rd_valid))), .clk_o(clk_att));
  acc_kv_wr #(.Channels(Channels)) u_kv_wr (
      .clk_i(clk_kvw), .rst_ni, .settings_i, .lines_i, .cmd_valid_i(to_kvw), .cmd_ready_o(kvw_ready),
      .cmd_i, .done_o(kvw_done), .error_o(kvw_error), .r_valid_o(kvw_r), .r_ready_i, .r_addr_o(kvw_addr),
      .q_valid_i(writer_q && q_valid_i), .q_data_i, .rq_valid_o(kvw_rq), .rq_ready_i(writer_q && rq_ready),
      .rq_channel_o(kvw_channel), .rq_line_o(kvw_line), .rq_count_o(kvw_count), .rd_valid_i(writer_q && rd_valid),
      .rd_ready_o(kvw_rd_ready), .rd_data_i(rd_data), .wq_valid_o, .wq_ready_i, .wq_channel_o, .wq_line_o(line),
      .wq_data_o, .wq_strb_o, .w_idle_i(&w_idle_i));
  acc_attn #(.Channels(Channels)) u_attn (
      .clk_i(clk_att), .rst_ni, .settings_i, .lines_i, .cmd_valid_i(to_att), .cmd_ready_o(att_ready),
      .cmd_i, .done_o(att_done), .error_o(att_error), .r_valid_o(att_r), .r_ready_i, .r_addr_o(att_addr),
      .q_valid_i(!writer_q && q_valid_i), .q_data_i, .w_valid_o, .w_ready_i, .w_addr_o, .w_data_o, .w_mask_o,
      .rq_valid_o(att_rq), .rq_ready_i(!writer_q && rq_ready), .rq_channel_o(att_channel), .rq_line_o(att_line),
      .rq_count_o(att_count), .rd_valid_i(!writer_q && rd_valid), .rd_ready_o(att_rd_ready), .rd_data_i(rd_data),
      .kv_valid_o, .kv_four_o, .kv_eight_o, .kv_line_o, .kv_operands_o, .kv_sums_valid_i, .kv_low_i, .kv_high_i);
endmodule
`default_nettype wire
