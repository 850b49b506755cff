// Writes one position's codes, scale and zero into its block of the cache (src/accel/cache_map.h), a line a cycle, touching
// no byte but its own. Keys of 4 bits share their bytes with a neighbour: what stands there comes first, line by line
// (old_*), and the nibble beside is kept.
`default_nettype none
module acc_kv_put (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           start_i,
  input  logic                           four_i,      // these are constant until the end
  input  logic                           value_i,
  input  logic [3:0]                     position_i,  // in its block
  input  logic [8:0]                     dims_i,
  input  logic [acc_unit_pkg::LineW-1:0] line_i,      // the block's first
  input  logic [2047:0]                  codes_i,     // 0 from head_dim on
  input  logic [15:0]                    scale_i,
  input  logic [3:0]                     zero_i,
  output logic                           busy_o,      // until the last line has been taken
  input  logic                           old_start_i, // before the first of the old lines
  input  logic                           old_valid_i,
  input  logic [511:0]                   old_i,
  output logic                           wq_valid_o,
  input  logic                           wq_ready_i,
  output logic [acc_unit_pkg::LineW-1:0] wq_line_o,
  output logic [511:0]                   wq_data_o,
  output logic [63:0]                    wq_strb_o
);
  // ---- the old lines' eight bytes of the position and its neighbour ----
  logic [63:0] old [0:31];
  logic [63:0] kept;
  logic [5:0]  old_q;
  logic [6:0]  step_q, steps;   // lines of codes: that is next, and all of this position
  always_ff @(posedge clk_i) begin
    if (old_valid_i) old[old_q[4:0]] <= old_i[{position_i[3:1], 6'd0} +: 64];
    if (!rst_ni || old_start_i) old_q <= '0;
    else old_q <= old_q + 6'(old_valid_i);
  end
  assign kept = old[step_q[4:0]];

  // ---- lines in order of dimensions, then scales ----
  logic         busy_q, pair, scales, taken;
  logic [3:0]   upper;          // of values at 4 bits: the upper half's word of codes
  logic [31:0]  at8;            // keys of 8 bits: four dimensions
  logic [63:0]  at4;            // keys of 4 bits: eight dimensions
  logic [127:0] low, high;      // values: 16 dimensions each
  assign pair       = four_i && !value_i;
  assign steps      = 7'(value_i ? four_i ? dims_i >> 5 : dims_i >> 4 : four_i ? dims_i >> 3 : dims_i >> 2);
  assign scales     = step_q == steps;
  assign busy_o     = busy_q;
  assign wq_valid_o = busy_q && (scales || !pair || old_q > step_q[5:0]);
  assign taken      = wq_valid_o && wq_ready_i;
  assign upper      = step_q[3:0] + 4'(dims_i >> 5);
  assign at8        = codes_i[{step_q[5:0], 5'd0} +: 32];
  assign at4        = codes_i[{step_q[4:0], 6'd0} +: 64];
  assign low        = codes_i[{step_q[3:0], 7'd0} +: 128];
  assign high       = codes_i[{upper, 7'd0} +: 128];

  always_comb begin
    wq_data_o = '0;
    wq_strb_o = '0;
    if (scales) begin
      wq_data_o[{1'b0, position_i, 4'd0} +: 16]   = scale_i;
      wq_data_o[{2'b10, position_i, 3'd0} +: 8]   = {4'd0, zero_i};
      wq_strb_o[{1'b0, position_i, 1'b0} +: 2]    = 2'b11;
      wq_strb_o[{2'b10, position_i}]              = 1'b1;
    end else if (value_i) begin
      for (int d = 0; d < 16; d++) begin
        wq_data_o[{4'(d), position_i[1:0], 3'd0} +: 8] = four_i ? {high[d*8 +: 4], low[d*8 +: 4]} : low[d*8 +: 8];
        wq_strb_o[{4'(d), position_i[1:0]}]               = 1'b1;
      end
    end else if (four_i) begin
      for (int d = 0; d < 8; d++)
        wq_data_o[{position_i[3:1], 3'(d), 3'd0} +: 8] = position_i[0] ? {at4[d*8 +: 4], kept[d*8 +: 4]} :
                                                         {kept[d*8 + 4 +: 4], at4[d*8 +: 4]};
      wq_strb_o[{position_i[3:1], 3'd0} +: 8] = 8'hff;
    end else begin
      wq_data_o[{position_i, 5'd0} +: 32] = at8;
      wq_strb_o[{position_i, 2'd0} +: 4]  = 4'hf;
    end
  end

  // A value's lines stand at its quarter of the positions; scales behind all codes.
  logic [6:0] offset;
  always_comb begin
    if (scales) offset = 7'(four_i ? dims_i >> 3 : dims_i >> 2);
    else if (value_i) offset = 7'(position_i[3:2] * 7'(four_i ? dims_i >> 5 : dims_i >> 4)) + step_q;
    else offset = step_q;
  end
  assign wq_line_o = line_i + acc_unit_pkg::LineW'(offset);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      step_q <= '0;
    end else if (start_i) begin
      busy_q <= 1'b1;
      step_q <= '0;
    end else if (taken) begin
      busy_q <= !scales;
      step_q <= step_q + 7'd1;
    end
  end
endmodule
`default_nettype wire
