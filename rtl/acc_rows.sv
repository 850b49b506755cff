// Where an MM's rows go: beats of four in the order of acc_collect, into the vector memory, added to what is there, or
// as lines into memory. Of rows for memory it remembers the first row block with a NaN or an infinity.
`default_nettype none
module acc_rows #(
  parameter int unsigned Channels = 1,  // a power of two
  parameter int unsigned LineW = 24,
  localparam int unsigned AddrW = $clog2(acc_pkg::VmemBlocks * 4),
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                clear_i,     // forgets what was not finite
  input  acc_pkg::target_e    target_i,    // constant while busy_o
  input  logic [LineW-1:0]    dst_i,       // block of the vector memory, or line
  input  logic [1:0]          step_i,      // from a row block to the next one, in blocks; at least 1
  input  logic                in_valid_i,
  output logic                in_ready_o,
  input  logic [127:0]        in_data_i,
  input  logic [15:0]         in_block_i,
  input  logic [3:0]          in_beat_i,
  output logic                busy_o,      // rows are in here
  output logic                bad_o,
  output logic [4:0]          bad_channel_o,
  // the vector memory
  output logic                r_valid_o,
  input  logic                r_ready_i,
  output logic [AddrW-1:0]    r_addr_o,
  input  logic                q_valid_i,
  input  logic [511:0]        q_data_i,
  output logic                w_valid_o,
  input  logic                w_ready_i,
  output logic [AddrW-1:0]    w_addr_o,
  output logic [511:0]        w_data_o,
  output logic [15:0]         w_mask_o,
  // memory
  output logic                wq_valid_o,
  input  logic                wq_ready_i,
  output logic [ChannelW-1:0] wq_channel_o,
  output logic [LineW-1:0]    wq_line_o,
  output logic [511:0]        wq_data_o,
  output logic [63:0]         wq_strb_o
);
  logic add, memory;
  assign add    = target_i == acc_pkg::TargetAdd;
  assign memory = target_i == acc_pkg::TargetMemory;

  // ---- beats wait for the word they are added to; it is asked for with the first of its four ----
  localparam int unsigned PlaceW = LineW + ChannelW;
  logic              beat_room, beat_valid, beat_take, first, asks;
  logic [1:0]        beat_q;     // of the word
  logic [2:0]        words_q;    // words asked for and not yet used up: 4 at most
  logic [PlaceW-1:0] place_in, place;  // of a beat's word: address, or line and channel
  logic [127:0]      beat;
  assign first = in_beat_i[1:0] == 2'd0;
  assign asks  = add && first;
  assign in_ready_o = beat_room && (!asks || (!words_q[2] && r_ready_i));
  assign r_valid_o  = in_valid_i && asks && beat_room && !words_q[2];
  assign r_addr_o   = place_in[AddrW-1:0];
  always_comb begin
    if (memory)
      place_in = {in_block_i[ChannelW-1:0] & ChannelW'(Channels - 1),
                  dst_i + LineW'({16'(in_block_i >> $clog2(Channels)), in_beat_i[3:2]})};
    else
      place_in = PlaceW'({dst_i[AddrW-3:0] + (AddrW - 2)'(in_block_i * 16'(step_i)), in_beat_i[3:2]});
  end
  acc_fifo #(.Width(128 + PlaceW), .Depth(16)) u_beats (
      .clk_i, .rst_ni, .in_valid_i(in_valid_i && in_ready_o), .in_ready_o(beat_room), .in_data_i({place_in, in_data_i}),
      .out_valid_o(beat_valid), .out_ready_i(beat_take), .out_data_o({place, beat}));

  logic         word_room, word_valid, word_take, used;
  logic [511:0] word;
  acc_fifo #(.Width(512), .Depth(4)) u_words (.clk_i, .rst_ni, .in_valid_i(q_valid_i), .in_ready_o(word_room),
                                              .in_data_i(q_data_i), .out_valid_o(word_valid), .out_ready_i(word_take),
                                              .out_data_o(word));

  // ---- the addition; elsewhere of -0, which changes nothing ----
  logic [2:0]   out_q;         // words begun and not yet written: 4 at most
  logic [127:0] sums;
  logic [acc_fp_pkg::AddCycles-1:0] adding_q;
  assign beat_take = beat_valid && (!add || word_valid) && (beat_q != 2'd0 || !out_q[2]);
  assign used      = beat_take && beat_q == 2'd3;
  assign word_take = used && add;
  for (genvar j = 0; j < 4; j++) begin : gen_row
    logic [31:0] there;
    assign there = add ? word[{beat_q, 2'(j)}*32 +: 32] : 32'h80000000;
    acc_fp_add u_add (.clk_i, .a_i(there), .b_i(beat[j*32 +: 32]), .y_o(sums[j*32 +: 32]));
  end

  // ---- words again ----
  logic              done_valid, done_room, place_room, place_valid, out_valid, out_take, bad;
  logic [511:0]      done_word, out_word;
  logic [PlaceW-1:0] out_place;
  acc_widen #(.Width(128), .Parts(4)) u_widen (.clk_i, .rst_ni, .in_valid_i(adding_q[acc_fp_pkg::AddCycles-1]),
                                               .in_data_i(sums), .out_valid_o(done_valid), .out_data_o(done_word));
  acc_fifo #(.Width(512), .Depth(4)) u_out (.clk_i, .rst_ni, .in_valid_i(done_valid), .in_ready_o(done_room),
                                            .in_data_i(done_word), .out_valid_o(out_valid), .out_ready_i(out_take),
                                            .out_data_o(out_word));
  acc_fifo #(.Width(PlaceW), .Depth(4)) u_places (.clk_i, .rst_ni, .in_valid_i(beat_take && beat_q == 2'd0),
                                                  .in_ready_o(place_room), .in_data_i(place),
                                                  .out_valid_o(place_valid), .out_ready_i(out_take),
                                                  .out_data_o(out_place));
  assign w_valid_o  = out_valid && !memory;
  assign w_addr_o   = out_place[AddrW-1:0];
  assign w_data_o   = out_word;
  assign w_mask_o   = '1;
  assign wq_valid_o = out_valid && memory;
  assign {wq_channel_o, wq_line_o} = out_place;
  assign wq_data_o  = out_word;
  assign wq_strb_o  = '1;
  assign out_take   = out_valid && (memory ? wq_ready_i : w_ready_i);
  assign busy_o     = beat_valid || out_q != 3'd0;

  logic                bad_q;
  logic [ChannelW-1:0] bad_channel_q;
  assign bad_o         = bad_q;
  assign bad_channel_o = 5'(bad_channel_q);
  always_comb begin
    bad = 1'b0;
    for (int l = 0; l < 16; l++) bad = bad || out_word[l*32+23 +: 8] == 8'hff;
  end

  always_ff @(posedge clk_i) begin
    if (!bad_q) bad_channel_q <= wq_channel_o;
    if (!rst_ni) begin
      beat_q   <= '0;
      words_q  <= '0;
      out_q    <= '0;
      adding_q <= '0;
      bad_q    <= 1'b0;
    end else begin
      if (beat_take) beat_q <= beat_q + 2'd1;
      words_q  <= words_q + 3'(r_valid_o && r_ready_i) - 3'(word_take);
      out_q    <= out_q + 3'(beat_take && beat_q == 2'd0) - 3'(out_take);
      adding_q <= {adding_q[acc_fp_pkg::AddCycles-2:0], beat_take};
      bad_q    <= !clear_i && (bad_q || (wq_valid_o && wq_ready_i && bad));
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) q_valid_i |-> word_room);
  assert property (@(posedge clk_i) disable iff (!rst_ni) done_valid |-> done_room);
  assert property (@(posedge clk_i) disable iff (!rst_ni) beat_take && beat_q == 2'd0 |-> place_room);
  assert property (@(posedge clk_i) disable iff (!rst_ni) out_valid |-> place_valid);
`endif
endmodule
`default_nettype wire
