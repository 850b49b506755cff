// Whether the geometry registers say what the hardware can do: acc_geometry_bad() of the library, for any 32 bits in each.
// start_i begins anew; 12 cycles later valid_o rises. The inputs are constant from then on.
`default_nettype none
module acc_geometry (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [31:0] heads_i,
  input  logic [31:0] kv_heads_i,
  input  logic [31:0] head_dim_i,
  input  logic [31:0] page_i,
  input  logic [31:0] sinks_i,
  input  logic [31:0] window_i,
  input  logic [31:0] near_i,
  input  logic [31:0] kv_bits_i,
  input  logic [31:0] ring_pages_i,
  input  logic [31:0] near_positions_i,
  output logic        valid_o,
  output logic        bad_o
);
  localparam logic [31:0] NearPlaces = acc_pkg::NearMax + 2 * acc_pkg::Strip;

  // heads mod kv_heads, a bit a cycle from the top; both have 11 bits where they are good.
  logic [4:0]  step_q;
  logic [11:0] rest;
  logic [10:0] rest_q, next;
  assign rest = {rest_q, heads_i[step_q]};
  assign next = rest >= {1'b0, kv_heads_i[10:0]} ? 11'(rest - {1'b0, kv_heads_i[10:0]}) : rest[10:0];
  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) begin
      step_q  <= 5'd10;
      rest_q  <= '0;
      valid_o <= 1'b0;
    end else if (!valid_o) begin
      step_q  <= step_q - 5'd1;
      rest_q  <= next;
      valid_o <= step_q == '0;
    end
  end

  // Products of what is checked to be small beside them.
  logic [19:0] width_q;
  logic [31:0] ring_q;
  always_ff @(posedge clk_i) begin
    width_q <= 20'(heads_i[10:0]) * 20'(head_dim_i[8:0]);
    ring_q  <= 32'(ring_pages_i[18:0]) * 32'(page_i[12:0]);
  end

  logic near, four, bad_heads, bad_head_dim, bad_page, bad_ring, bad_near, bad_segments;
  assign four         = kv_bits_i == 32'd4;
  assign near         = near_i != '0;
  assign bad_heads    = heads_i == '0 || heads_i > acc_pkg::HeadsMax || kv_heads_i == '0 || kv_heads_i > heads_i ||
                        rest_q != '0 || width_q > 20'(acc_pkg::CodesMax);
  assign bad_head_dim = head_dim_i < 32'd2 || head_dim_i > acc_pkg::HeadDimMax || head_dim_i[0];
  assign bad_page     = page_i < acc_pkg::Strip || page_i > acc_pkg::PageMax || (page_i & (page_i - 32'd1)) != '0;
  assign bad_ring     = window_i == '0 || window_i > acc_pkg::RingMax || ring_pages_i > acc_pkg::RingMax / acc_pkg::Strip ||
                        ring_q > acc_pkg::RingMax || ring_q < window_i + page_i;
  assign bad_near     = near_i > acc_pkg::NearMax || (near && !four) || near_positions_i % acc_pkg::Strip != '0 ||
                        near_positions_i > NearPlaces ||
                        (near ? near_positions_i < near_i + acc_pkg::Strip : near_positions_i != '0);
  assign bad_segments = sinks_i / acc_pkg::Segment8 + (four ? window_i / acc_pkg::Segment4 : window_i / acc_pkg::Segment8) +
                        32'd5 > acc_pkg::SegmentsMax;
  assign bad_o        = bad_heads || bad_head_dim || bad_page || sinks_i > acc_pkg::SinksMax ||
                        (!four && kv_bits_i != 32'd8) || bad_ring || bad_near || bad_segments;
endmodule
`default_nettype wire
