// Where a layer's keys and values lie (src/accel/cache_map.h), and whether the geometry can be and the ring heads are in
// their rings, worked out from the registers: 85 cycles from start_i on. All stands until the next start.
`default_nettype none
module acc_cache_plan #(
  parameter int unsigned Channels = 1  // a power of two
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    start_i,
  input  acc_unit_pkg::settings_t settings_i,
  output logic                    busy_o,
  output logic                    bad_o,
  output acc_unit_pkg::map_t      map_o,
  output logic [3:0]              page_log_o
);
  localparam int unsigned LineW = acc_unit_pkg::LineW;
  localparam int unsigned ChannelLog = $clog2(Channels);
  logic [31:0] kv_heads, page, ring_page, ring_pages, near_slot, near_positions;
  logic        geometry_valid, geometry_bad, places_bad;
  acc_geometry u_geometry (.clk_i, .rst_ni, .start_i, .heads_i(settings_i.heads), .kv_heads_i(kv_heads),
                           .head_dim_i(settings_i.head_dim), .page_i(page), .sinks_i(settings_i.sinks),
                           .window_i(settings_i.window), .near_i(settings_i.nears), .kv_bits_i(settings_i.kv_bits),
                           .ring_pages_i(ring_pages), .near_positions_i(near_positions), .valid_o(geometry_valid),
                           .bad_o(geometry_bad));
  assign kv_heads       = settings_i.kv_heads;
  assign page           = settings_i.page;
  assign ring_page      = settings_i.ring_page;
  assign ring_pages     = settings_i.ring_pages;
  assign near_slot      = settings_i.near_slot;
  assign near_positions = settings_i.near_positions;
  assign places_bad     = ring_page >= ring_pages || (near_positions != 32'd0 && near_slot >= near_positions);
  always_comb begin
    page_log_o = '0;  // 4..12
    for (int i = 0; i < 13; i++) if (page[i]) page_log_o = 4'(i);
  end

  logic [8:0]  dims;
  logic [5:0]  spread;
  logic [6:0]  block4, block8;
  assign dims   = {4'((settings_i.head_dim[8:0] + 9'd31) >> 5), 5'd0};
  assign block4 = 7'(dims >> 3) + 7'd1;
  assign block8 = 7'(dims >> 2) + 7'd1;
  always_comb begin
    spread = 6'd1;
    for (int unsigned s = 2; s <= Channels; s++) if (kv_heads * s <= Channels) spread = 6'(s);
  end

  // Questions in turn: query heads of a KV head, then blocks of each part by channels of a head, rounded up.
  logic [1:0]         part_q;      // 3: the first question
  logic               fresh_q, busy_q, div_done;
  logic [18:0]        blocks, a, quotient;
  logic [10:0]        b, rest, group_q;
  logic [25:0]        lines;
  logic [27:0]        at_q;        // below 2^28: 2 * (2^18 * 33 + 66 * 66 + ...)
  logic [3*LineW-1:0] keys_q, values_q;
  always_comb begin
    unique case (part_q)
      2'd0:    blocks = (19'(settings_i.sinks[10:0]) + 19'd15) >> 4;
      2'd1:    blocks = settings_i.ring_pages[18:0] << (page_log_o - 4'd4);
      default: blocks = 19'(settings_i.near_positions[8:4]);
    endcase
  end
  assign {a, b} = part_q == 2'd3 ? {19'(settings_i.heads[10:0]), kv_heads[10:0]} : {blocks + 19'(spread) - 19'd1, 11'(spread)};
  acc_udiv u_div (.clk_i, .rst_ni, .start_i(fresh_q), .a_i(a), .b_i(b), .done_o(div_done), .quotient_o(quotient),
                  .rest_o(rest));
  assign lines = 26'(quotient) * (part_q == 2'd1 && settings_i.kv_bits == 32'd4 ? 26'(block4) : 26'(block8));

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      at_q     <= '0;
    end else if (busy_q && !fresh_q && div_done) begin
      if (part_q == 2'd3) begin
        group_q  <= quotient[10:0];
      end else begin
        at_q     <= at_q + {1'b0, lines, 1'b0};
        keys_q   <= {LineW'(at_q), keys_q[3*LineW-1:LineW]};
        values_q <= {LineW'(at_q + 28'(lines)), values_q[3*LineW-1:LineW]};
      end
    end
    if (!rst_ni) begin
      part_q  <= 2'd3;
      fresh_q <= 1'b0;
      busy_q  <= 1'b0;
    end else if (start_i) begin
      part_q  <= 2'd3;
      fresh_q <= 1'b1;
      busy_q  <= 1'b1;
    end else begin
      fresh_q <= busy_q && !fresh_q && div_done && part_q != 2'd2;
      if (busy_q && !fresh_q && div_done) begin
        part_q <= part_q + 2'd1;
        busy_q <= part_q != 2'd2;
      end
    end
  end

  // A layer has the lines of one head in each channel for every round of heads over the channels.
  logic [10:0] rounds;
  assign rounds = spread != 6'd1 ? 11'd1 : (kv_heads[10:0] + 11'(Channels) - 11'd1) >> ChannelLog;
  assign busy_o = busy_q || !geometry_valid;
  assign bad_o  = geometry_bad || places_bad;
  // In the order of map_t.
  assign map_o  = {dims, spread, group_q, 15'(20'(kv_heads[10:0]) * 20'(settings_i.head_dim[8:0])), block4, block8,
                   keys_q, values_q, LineW'(at_q), 40'(rounds) * 40'(at_q)};
endmodule
`default_nettype wire
