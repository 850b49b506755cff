// What the hardware cannot do of the geometry (acc_geometry_bad of src/accel/cache_map.c, less its question whether the
// query heads share the KV heads evenly), and ring heads beyond their rings.
`default_nettype none
module acc_cache_geometry (
  input  acc_unit_pkg::settings_t settings_i,
  output logic                    bad_o,
  output logic [3:0]              page_log_o  // 4..12
);
  logic [31:0] heads, kv_heads, head_dim, page, sinks, window, near, bits, ring_pages, near_positions;
  logic [31:0] ring_page, near_slot;
  assign heads          = settings_i.heads;
  assign kv_heads       = settings_i.kv_heads;
  assign head_dim       = settings_i.head_dim;
  assign page           = settings_i.page;
  assign sinks          = settings_i.sinks;
  assign window         = settings_i.window;
  assign near           = settings_i.nears;
  assign bits           = settings_i.kv_bits;
  assign ring_pages     = settings_i.ring_pages;
  assign near_positions = settings_i.near_positions;
  assign ring_page      = settings_i.ring_page;
  assign near_slot      = settings_i.near_slot;

  logic        heads_bad, dim_bad, page_bad, window_bad, near_bad, segments_bad, places_bad;
  logic [44:0] ring;
  logic [19:0] floats;
  logic [31:0] segments;
  always_comb begin
    page_log_o = '0;
    for (int i = 0; i < 13; i++) if (page[i]) page_log_o = 4'(i);
  end
  assign ring     = 45'(ring_pages) << page_log_o;
  assign floats   = 20'(heads[10:0]) * 20'(head_dim[8:0]);
  assign segments = sinks / acc_pkg::Segment8 + 32'd5 +
                    (bits == 32'd4 ? window / acc_pkg::Segment4 : window / acc_pkg::Segment8);

  assign heads_bad    = heads == 32'd0 || kv_heads == 32'd0 || heads > acc_pkg::HeadsMax || kv_heads > acc_pkg::HeadsMax;
  assign dim_bad      = head_dim < 32'd2 || head_dim > acc_pkg::HeadDimMax || head_dim[0] || floats > 20'(acc_pkg::CodesMax);
  assign page_bad     = page < acc_pkg::Strip || page > acc_pkg::PageMax || (page & (page - 32'd1)) != 32'd0;
  assign window_bad   = window == 32'd0 || ring > 45'(acc_pkg::RingMax) || ring < 45'(window) + 45'(page);
  assign near_bad     = bits == 32'd4 && near != 32'd0 ?
                        near > acc_pkg::NearMax || near_positions[3:0] != 4'd0 ||
                        near_positions > acc_pkg::NearMax + 2 * acc_pkg::Strip ||
                        near_positions < near + acc_pkg::Strip : near != 32'd0 || near_positions != 32'd0;
  assign segments_bad = segments > acc_pkg::SegmentsMax;
  assign places_bad   = ring_page >= ring_pages || (near_positions != 32'd0 && near_slot >= near_positions);
  assign bad_o        = heads_bad || dim_bad || page_bad || sinks > acc_pkg::SinksMax || (bits != 32'd4 && bits != 32'd8) ||
                        window_bad || near_bad || segments_bad || places_bad;
endmodule
`default_nettype wire
