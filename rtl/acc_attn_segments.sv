// The segments of a query's past in attention's order (docs/numerics.md, "Attention of one query and head"): sinks, window
// and, with a 4-bit cache, near positions, cut at multiples of a segment's length. Positions low..high - 1 of each.
`default_nettype none
module acc_attn_segments (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  acc_unit_pkg::settings_t settings_i,
  input  logic                    start_i,
  output logic                    busy_o,      // until the last has been taken
  output logic                    out_valid_o,
  input  logic                    out_ready_i,
  output acc_unit_pkg::part_e     part_o,
  output logic [63:0]             low_o,
  output logic [63:0]             high_o
);
  logic [63:0] t, sinks, window, nears, last, sinks_end, window_begin, near_begin, window_end;
  logic        four, near;
  assign t            = settings_i.position;
  assign sinks        = 64'(settings_i.sinks);
  assign window       = 64'(settings_i.window);
  assign nears        = 64'(settings_i.nears);
  assign four         = settings_i.kv_bits == 32'd4;
  assign near         = settings_i.nears != 32'd0;
  assign last         = t < window ? 64'd0 : t - window + 64'd1;
  assign sinks_end    = t < sinks ? t + 64'd1 : sinks;
  assign window_begin = last > sinks ? last : sinks;
  assign near_begin   = t >= nears && t - nears + 64'd1 > window_begin ? t - nears + 64'd1 : window_begin;
  assign window_end   = near ? near_begin : t + 64'd1;

  acc_unit_pkg::part_e part_q;
  logic                busy_q;
  logic [63:0]         low_q, part_end, cut;
  always_comb begin
    unique case (part_q)
      acc_unit_pkg::PartSinks: {part_end, cut} = {sinks_end, (low_q | 64'(acc_pkg::Segment8) - 64'd1) + 64'd1};
      acc_unit_pkg::PartRing:  {part_end, cut} = {window_end, (low_q | (four ? 64'(acc_pkg::Segment4) - 64'd1
                                                                             : 64'(acc_pkg::Segment8) - 64'd1)) + 64'd1};
      default:                 {part_end, cut} = {t + 64'd1, t + 64'd1};
    endcase
  end
  logic empty, ends;  // of the part
  assign empty       = low_q >= part_end || (part_q == acc_unit_pkg::PartNear && !near);
  assign ends        = part_end - low_q <= cut - low_q;  // the cut may lie at 2^64
  assign busy_o      = busy_q;
  assign out_valid_o = busy_q && !empty;
  assign part_o      = part_q;
  assign low_o       = low_q;
  assign high_o      = ends ? part_end : cut;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      part_q <= acc_unit_pkg::PartSinks;
      low_q  <= '0;
    end else if (busy_q && (empty || (out_ready_i && ends))) begin
      part_q <= part_q == acc_unit_pkg::PartSinks ? acc_unit_pkg::PartRing : acc_unit_pkg::PartNear;
      low_q  <= part_q == acc_unit_pkg::PartSinks ? window_begin : near_begin;
    end else if (busy_q && out_ready_i) begin
      low_q <= cut;
    end
    if (!rst_ni) busy_q <= 1'b0;
    else busy_q <= start_i || (busy_q && !(part_q == acc_unit_pkg::PartNear && (empty || out_ready_i)));
  end
endmodule
`default_nettype wire
