// Lines that are dealt to the channels in turns, as one stream: a vector's line by line, logits by row blocks of four;
// or lines of one channel. Every channel is asked for its part at once, a long part in pieces.
`default_nettype none
module acc_vec_lines #(
  parameter int unsigned Channels = 1,  // a power of two
  parameter int unsigned LineW = 24,
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      start_i,    // only when every line has been taken
  input  logic [LineW-1:0]          line_i,     // the first, the same in every channel
  input  logic [20:0]               count_i,    // of all channels together; at least 1
  input  logic                      fours_i,    // turns of four lines
  input  logic                      single_i,   // all lines from one channel
  input  logic [ChannelW-1:0]       channel_i,  // from this one
  output logic [Channels-1:0]       rq_valid_o,
  input  logic [Channels-1:0]       rq_ready_i,
  output logic [Channels*LineW-1:0] rq_line_o,
  output logic [Channels*16-1:0]    rq_count_o,
  input  logic [Channels-1:0]       rd_valid_i,
  output logic [Channels-1:0]       rd_ready_o,
  input  logic [Channels*512-1:0]   rd_data_i,
  output logic                      out_valid_o,
  input  logic                      out_ready_i,
  output logic [511:0]              out_data_o
);
  localparam int unsigned Shift = $clog2(Channels);
  localparam logic [20:0] Piece = 21'd32768;  // lines of a request at most

  logic [20:0]         left_q, at_q;  // lines to give and given
  logic                fours_q, single_q;
  logic [ChannelW-1:0] channel_q, turn;
  assign turn = single_q ? channel_q : Channels == 1 ? '0 : fours_q ? at_q[2 +: ChannelW] : at_q[0 +: ChannelW];
  assign out_valid_o = left_q != 21'd0 && rd_valid_i[turn];
  assign out_data_o  = rd_data_i[turn*512 +: 512];

  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    logic [20:0]      turns, rest, part, ask_q, piece;  // part: the channel's lines; ask_q: still to be asked for
    logic [LineW-1:0] line_q;
    always_comb begin
      turns = fours_i ? count_i >> (Shift + 2) : count_i >> Shift;
      rest  = fours_i ? count_i & 21'(4 * Channels - 1) : count_i & 21'(Channels - 1);
      if (single_i) part = channel_i == ChannelW'(c) ? count_i : 21'd0;
      else if (!fours_i) part = turns + 21'(rest > 21'(c));
      else part = turns * 21'd4 + (rest <= 21'(4 * c) ? 21'd0 : rest >= 21'(4 * c + 4) ? 21'd4 : rest - 21'(4 * c));
    end
    assign piece = ask_q < Piece ? ask_q : Piece;
    assign rq_valid_o[c]                = ask_q != 21'd0;
    assign rq_line_o[c*LineW +: LineW]  = line_q;
    assign rq_count_o[c*16 +: 16]       = piece[15:0];
    assign rd_ready_o[c]                = left_q != 21'd0 && turn == ChannelW'(c) && out_ready_i;
    always_ff @(posedge clk_i) begin
      if (start_i) line_q <= line_i;
      else if (rq_valid_o[c] && rq_ready_i[c]) line_q <= line_q + LineW'(piece);
      if (!rst_ni) ask_q <= '0;
      else if (start_i) ask_q <= part;
      else if (rq_valid_o[c] && rq_ready_i[c]) ask_q <= ask_q - piece;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) {fours_q, single_q, channel_q} <= {fours_i, single_i, channel_i};
    if (!rst_ni) begin
      left_q <= '0;
      at_q   <= '0;
    end else if (start_i) begin
      left_q <= count_i;
      at_q   <= '0;
    end else if (out_valid_o && out_ready_i) begin
      left_q <= left_q - 21'd1;
      at_q   <= at_q + 21'd1;
    end
  end
endmodule
`default_nettype wire
