// A segment's blocks of 16 positions one after the other: on which channel of the head each lies and how far into the part
// (src/accel/cache_map.h). Opening a segment takes 22 cycles, since a head may be spread over any number of channels; from
// then on it can be walked again and again, a block per cycle.
`default_nettype none
module acc_attn_walk (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  acc_unit_pkg::settings_t        settings_i,
  input  logic [3:0]                     page_log_i,
  input  logic [5:0]                     spread_i,
  input  logic                           open_i,
  input  acc_unit_pkg::part_e            part_i,    // constant until the next opening, as are the next two
  input  logic [63:0]                    start_i,   // position of the first block, a multiple of 16
  input  logic [6:0]                     lines_i,   // of a block
  output logic                           busy_o,    // opening
  input  logic                           rewind_i,  // back to the first block
  input  logic                           next_i,
  output logic [4:0]                     channel_o, // from the head's first
  output logic [acc_unit_pkg::LineW-1:0] line_o     // from the part's first of the head
);
  localparam int unsigned LineW = acc_unit_pkg::LineW;
  logic [63:0] t;
  logic [22:0] pages_back, page, slot;   // of the ring
  logic [11:0] in_page;
  logic [5:0]  near_back, near_block;
  logic [18:0] block, total, quotient;
  logic [10:0] rest;
  logic        div_done, opening_q;
  assign t          = settings_i.position;
  assign pages_back = 23'((t >> page_log_i) - (start_i >> page_log_i));
  assign page       = 23'(settings_i.ring_page) - pages_back +
                      (23'(settings_i.ring_page) < pages_back ? 23'(settings_i.ring_pages) : 23'd0);
  assign in_page    = start_i[11:0] & 12'((13'd1 << page_log_i) - 13'd1);
  assign slot       = (page << page_log_i) + 23'(in_page);
  assign near_back  = 6'((t >> 4) - (start_i >> 4));  // blocks: t and its slot are as far from a multiple of 16
  assign near_block = settings_i.near_slot[9:4] - near_back +
                      (settings_i.near_slot[9:4] < near_back ? settings_i.near_positions[9:4] : 6'd0);
  always_comb begin
    unique case (part_i)
      acc_unit_pkg::PartSinks: {block, total} = {19'(start_i[9:4]), 19'd64};
      acc_unit_pkg::PartRing:  {block, total} = {19'(slot >> 4), settings_i.ring_pages[18:0] << (page_log_i - 4'd4)};
      default:                 {block, total} = {19'(near_block), 19'(settings_i.near_positions[9:4])};
    endcase
  end
  acc_udiv u_div (.clk_i, .rst_ni, .start_i(open_i), .a_i(block), .b_i(11'(spread_i)), .done_o(div_done),
                  .quotient_o(quotient), .rest_o(rest));

  // The ring begins anew behind its last block.
  logic [18:0]      left_q;     // blocks until there, this one counted
  logic [4:0]       channel_q;
  logic [LineW-1:0] line_q;
  assign busy_o    = opening_q;
  assign channel_o = channel_q;
  assign line_o    = line_q;
  always_ff @(posedge clk_i) begin
    if ((opening_q && div_done) || rewind_i) begin
      left_q    <= total - block;
      channel_q <= rest[4:0];
      line_q    <= LineW'(26'(quotient) * 26'(lines_i));
    end else if (next_i) begin
      left_q    <= left_q == 19'd1 ? total : left_q - 19'd1;
      channel_q <= left_q == 19'd1 || 6'(channel_q) + 6'd1 == spread_i ? 5'd0 : channel_q + 5'd1;
      if (left_q == 19'd1) line_q <= '0;
      else if (6'(channel_q) + 6'd1 == spread_i) line_q <= line_q + LineW'(lines_i);
    end
    if (!rst_ni) opening_q <= 1'b0;
    else opening_q <= open_i || (opening_q && !div_done);
  end
endmodule
`default_nettype wire
