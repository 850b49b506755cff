// ATT: attention of all query heads of one token (docs/numerics.md, "Attention of one query and head"). Heads in turn,
// segments in turn: scores page by page, each with a query of its own; weights; values; then the segments' merge, into the
// vector memory. Keys and values go through an engine's multipliers (acc_dense) as they come; nothing else may use those
// meanwhile. Reads come in order, whatever their channels.
`default_nettype none
module acc_attn #(
  parameter int unsigned Channels = 1,  // a power of two
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  acc_unit_pkg::settings_t        settings_i,      // constant during a run
  input  logic [22:0]                    lines_i,         // of a channel
  input  logic                           cmd_valid_i,
  output logic                           cmd_ready_o,
  input  logic [127:0]                   cmd_i,
  output logic                           done_o,
  output acc_pkg::error_e                error_o,         // with done_o; its channel is 0
  // vector memory
  output logic                           r_valid_o,
  input  logic                           r_ready_i,
  output logic [11:0]                    r_addr_o,
  input  logic                           q_valid_i,
  input  logic [511:0]                   q_data_i,
  output logic                           w_valid_o,
  input  logic                           w_ready_i,
  output logic [11:0]                    w_addr_o,
  output logic [511:0]                   w_data_o,
  output logic [15:0]                    w_mask_o,
  // memory
  output logic                           rq_valid_o,
  input  logic                           rq_ready_i,
  output logic [ChannelW-1:0]            rq_channel_o,
  output logic [acc_unit_pkg::LineW-1:0] rq_line_o,
  output logic [15:0]                    rq_count_o,
  input  logic                           rd_valid_i,
  output logic                           rd_ready_o,
  input  logic [511:0]                   rd_data_i,
  // multipliers (acc_engine)
  output logic                           kv_valid_o,
  output logic                           kv_four_o,
  output logic                           kv_eight_o,
  output logic [511:0]                   kv_line_o,
  output logic [71:0]                    kv_operands_o,
  input  logic                           kv_sums_valid_i,
  input  logic [287:0]                   kv_low_i,
  input  logic [255:0]                   kv_high_i
);
  localparam int unsigned LineW = acc_unit_pkg::LineW;
  typedef enum logic [3:0] {Idle = 4'd0, Plan = 4'd1, Steps = 4'd2, Mean = 4'd3, Segment = 4'd4, Open = 4'd5, Query = 4'd6,
                            Keys = 4'd7, Weights = 4'd8, Inverse = 4'd9, Unit = 4'd10, Values = 4'd11, Merge = 4'd12,
                            Done = 4'd13} state_e;
  state_e       state_q, next;
  logic         fresh_q;   // the state's first cycle
  logic [127:0] cmd_q;

  // ---- the instruction and the geometry ----
  logic [9:0]              queries, dst, unused_lines;
  logic [23:0]             cache, params;
  logic                    has_mean, plan_busy, bad;
  logic [3:0]              page_log;
  logic [8:0]              n, dims;
  logic [5:0]              spread;
  logic [63:0]             t, page_mask;
  acc_unit_pkg::map_t      map;
  acc_pkg::error_e         refusal, error_q;
  assign queries   = cmd_q[acc_pkg::AttQueriesLsb +: acc_pkg::AttQueriesW];
  assign dst       = cmd_q[acc_pkg::AttDstLsb +: acc_pkg::AttDstW];
  assign cache     = cmd_q[acc_pkg::AttCacheLsb +: acc_pkg::AttCacheW];
  assign params    = cmd_q[acc_pkg::AttParamsLsb +: acc_pkg::AttParamsW];
  assign has_mean  = cmd_q[acc_pkg::AttMeanLsb];
  assign n         = settings_i.head_dim[8:0];
  assign t         = settings_i.position;
  assign dims      = map.dims;
  assign spread    = map.spread;
  assign page_mask = (64'd1 << page_log) - 64'd1;
  acc_cache_plan #(.Channels(Channels)) u_plan (.clk_i, .rst_ni, .start_i(state_q == Plan && fresh_q), .settings_i,
                                                .busy_o(plan_busy), .bad_o(bad), .map_o(map), .page_log_o(page_log));
  acc_cache_check #(.Channels(Channels)) u_check (
      .bad_i(bad), .lines_i, .map_i(map), .settings_i, .cache_i(cache), .params_i(params), .vectors_i({1'b0, has_mean}),
      .block_a_i(queries), .block_b_i(dst), .floats_i(15'(20'(settings_i.heads[10:0]) * 20'(n))),
      .vector_lines_o(unused_lines), .error_o(refusal));

  // ---- heads ----
  logic [10:0]        head_q, member_q;  // member_q: of those that share a KV head
  logic [13:0]        first_q, kv_first_q;  // elements of the head, of its KV head
  logic [5:0]         channel_q;         // the KV head's first
  logic [LineW-1:0]   row_q;             // lines of the KV heads before it in that channel
  logic               last_head, last_member;
  assign last_head   = head_q + 11'd1 == settings_i.heads[10:0];
  assign last_member = member_q + 11'd1 == map.group;

  // ---- segments and their blocks ----
  logic                segments_busy, segment_valid, walk_busy, walk_next, four;
  acc_unit_pkg::part_e part, part_q;
  logic [63:0]         low, high, pos_q, block_pos_q;
  logic [3:0]          from_q;           // acc_attn_scores: low_i, high_i
  logic [12:0]         to_q;
  logic [8:0]          blocks_q, left_q, todo_q, run;
  logic [6:0]          parts_q, block_lines;
  logic [4:0]          walk_channel;
  logic [LineW-1:0]    walk_line, start;
  logic [3*LineW-1:0]  starts;
  acc_attn_segments u_segments (.clk_i, .rst_ni, .settings_i, .start_i(state_q == Mean && next == Segment),
                                .busy_o(segments_busy), .out_valid_o(segment_valid),
                                .out_ready_i(state_q == Segment), .part_o(part), .low_o(low), .high_o(high));
  acc_attn_walk u_walk (.clk_i, .rst_ni, .settings_i, .page_log_i(page_log), .spread_i(spread),
                        .open_i(state_q == Open && fresh_q), .part_i(part_q), .start_i(pos_q), .lines_i(block_lines),
                        .busy_o(walk_busy), .rewind_i((state_q == Weights || state_q == Unit) && fresh_q),
                        .next_i(walk_next), .channel_o(walk_channel), .line_o(walk_line));
  assign four        = settings_i.kv_bits == 32'd4 && part_q == acc_unit_pkg::PartRing;
  assign block_lines = four ? map.block4 : map.block8;
  assign starts      = state_q == Keys ? map.keys : map.values;
  assign start       = part_q == acc_unit_pkg::PartSinks ? starts[LineW-1:0] :
                       part_q == acc_unit_pkg::PartRing ? starts[LineW +: LineW] : starts[2*LineW +: LineW];
  // Blocks of the page that begins or goes on at block_pos_q; a run of them has one query.
  logic [8:0] in_page;
  assign in_page = 9'(((page_mask + 64'd1) - (block_pos_q & page_mask)) >> 4);
  assign run     = part_q == acc_unit_pkg::PartSinks || left_q < in_page ? left_q : in_page;

  // ---- lines: rotation steps and mean, or blocks of the cache ----
  logic                params_busy, loading, params_valid, words_asked;
  logic [7:0]          params_base;
  logic [15:0]         params_mask, asked_q;
  logic [LineW-1:0]    params_at, params_line, cache_line;
  logic [ChannelW-1:0] params_channel;
  logic [511:0]        steps [0:15], steps_line, mean, unused_mean;
  logic [6:0]          step_index;
  logic [3:0]          mean_word;
  logic                mean_wanted, scores_ready, weights_ready, values_ready;
  assign mean_wanted = has_mean && member_q == 11'd0;
  assign loading     = state_q == Steps || state_q == Mean;
  acc_params_rd #(.Channels(Channels)) u_params (
      .clk_i, .rst_ni, .start_i(fresh_q && (state_q == Steps || (state_q == Mean && mean_wanted))),
      .line_i(params_line), .first_i(state_q == Steps ? 14'd0 : kv_first_q),
      .n_i(n), .busy_o(params_busy), .rq_valid_o(params_valid), .rq_ready_i(loading && rq_ready_i),
      .rq_channel_o(params_channel), .rq_line_o(params_at), .rd_valid_i(loading && rd_valid_i), .base_o(params_base),
      .mask_o(params_mask));
  assign params_line = state_q == Steps ? LineW'(settings_i.rope) : LineW'(params);
  assign steps_line  = steps[step_index[6:3]];
  always_ff @(posedge clk_i) if (state_q == Steps && rd_valid_i) steps[params_base[7:4]] <= rd_data_i;
  acc_head_mem u_mean (.clk_i, .n_i(n), .w_valid_i(state_q == Mean && rd_valid_i), .w_side_i(1'b0),
                       .w_base_i(params_base), .w_mask_i(params_mask), .w_data_i(rd_data_i), .r_side_i(1'b0),
                       .a_word_i(mean_word), .a_o(mean), .b_base_i(8'd0), .b_o(unused_mean));
  assign words_asked  = todo_q == 9'd0 && asked_q == 16'd0;
  assign walk_next    = !loading && rq_valid_o && rq_ready_i;
  assign cache_line   = LineW'(cache) + row_q + start + walk_line +
                        (state_q == Weights ? LineW'(block_lines) - LineW'(1) : LineW'(0));  // scales alone
  assign rq_valid_o   = loading ? params_valid : todo_q != 9'd0;
  assign rq_channel_o = loading ? params_channel : Channels == 1 ? '0 : ChannelW'(channel_q + 6'(walk_channel));
  assign rq_line_o    = loading ? params_at : cache_line;
  assign rq_count_o   = loading || state_q == Weights ? 16'd1 : 16'(block_lines);
  assign rd_ready_o   = state_q == Keys ? scores_ready : state_q == Weights ? weights_ready :
                        state_q == Values ? values_ready : 1'b1;

  // ---- queries and scores ----
  logic          query_busy, query_failed, scores_idle, scores_valid, keys_valid, keys_eight, scores_w;
  logic [2047:0] codes;
  logic [16:0]   codes_sum;
  logic [31:0]   c, beta, max;
  logic [71:0]   keys_operands, values_operands;
  logic [9:0]    scores_word, weights_word, weights_r, strips_r;
  logic [127:0]  scores_data, weights_data, mem_data;
  logic [63:0]   sinks_last, distance;
  assign sinks_last   = 64'(settings_i.sinks) + 64'(settings_i.window) - 64'd1;
  assign distance     = part_q == acc_unit_pkg::PartSinks ? (t < sinks_last ? t : sinks_last) : t - (block_pos_q & ~page_mask);
  acc_attn_query u_query (.clk_i, .rst_ni, .start_i(state_q == Query && fresh_q), .n_i(n),
                          .first_i({queries, 6'd0} + 16'(first_q)), .distance_i(distance),
                          .window_i(part_q != acc_unit_pkg::PartSinks), .has_mean_i(has_mean),
                          .scale_i(settings_i.attention_scale), .busy_o(query_busy), .r_valid_o, .r_ready_i, .r_addr_o,
                          .q_valid_i, .q_data_i, .step_index_o(step_index),
                          .step_i(steps_line[{step_index[2:0], 6'd0} +: 64]), .mean_word_o(mean_word), .mean_i(mean),
                          .codes_o(codes), .sum_o(codes_sum), .c_o(c), .beta_o(beta), .failed_o(query_failed));
  assign scores_valid = state_q == Keys && rd_valid_i;
  acc_attn_scores u_scores (.clk_i, .rst_ni, .clear_i(state_q == Open), .four_i(four), .lines_i(block_lines),
                            .codes_i(codes), .sum_i(codes_sum), .c_i(c), .beta_i(beta), .low_i(from_q), .high_i(to_q),
                            .idle_o(scores_idle), .line_valid_i(scores_valid), .line_ready_o(scores_ready),
                            .line_i(rd_data_i), .kv_valid_o(keys_valid), .kv_eight_o(keys_eight),
                            .kv_operands_o(keys_operands), .kv_sums_valid_i(state_q == Keys && kv_sums_valid_i),
                            .kv_low_i, .kv_high_i(kv_high_i[127:0]), .w_valid_o(scores_w), .w_word_o(scores_word),
                            .w_data_o(scores_data), .max_o(max));

  // ---- weights, strips, values ----
  logic         weights_idle, weights_w, values_busy, values_valid, strip_valid, strip_ready;
  logic         o_valid, op_done;
  logic [31:0]  l, top, inv_q, unit_q, y;
  logic [127:0] p;
  logic [2:0]   x;
  logic [3:0]   o_word;
  logic [511:0] o;
  logic [8:0]   value_blocks;
  localparam logic [31:0] Most = 32'h46ff0000;  // 32640
  acc_attn_mem u_mem (.clk_i, .w_valid_i(scores_w || weights_w), .w_word_i(weights_w ? weights_word : scores_word),
                      .w_data_i(weights_w ? weights_data : scores_data),
                      .r_word_i(state_q == Weights ? weights_r : strips_r), .r_data_o(mem_data));
  acc_attn_weights u_weights (.clk_i, .rst_ni, .clear_i(state_q == Keys), .max_i(max), .low_i(from_q), .high_i(to_q),
                              .idle_o(weights_idle), .line_valid_i(state_q == Weights && rd_valid_i),
                              .line_ready_o(weights_ready), .line_i(rd_data_i), .r_word_o(weights_r), .r_data_i(mem_data),
                              .w_valid_o(weights_w), .w_word_o(weights_word), .w_data_o(weights_data), .sum_o(l),
                              .top_o(top));
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(state_q == Inverse || state_q == Unit), .op_i(acc_unit_pkg::OpDiv),
                  .a_i(state_q == Inverse ? Most : top), .b_i(state_q == Inverse ? top : Most), .done_o(op_done), .y_o(y));
  assign value_blocks = top[30:0] == 31'd0 ? 9'd0 : blocks_q;
  acc_attn_strips u_strips (.clk_i, .rst_ni, .start_i(state_q == Values && fresh_q), .inv_i(inv_q),
                            .strips_i(value_blocks), .r_word_o(strips_r), .r_data_i(mem_data), .out_valid_o(strip_valid),
                            .out_ready_i(strip_ready), .p_o(p), .x_o(x));
  acc_attn_values u_values (.clk_i, .rst_ni, .start_i(state_q == Values && fresh_q), .four_i(four), .dims_i(dims),
                            .blocks_i(value_blocks), .unit_i(unit_q), .busy_o(values_busy), .strip_valid_i(strip_valid),
                            .strip_ready_o(strip_ready), .p_i(p), .x_i(x),
                            .line_valid_i(state_q == Values && !fresh_q && rd_valid_i), .line_ready_o(values_ready),
                            .line_i(rd_data_i),
                            .kv_valid_o(values_valid), .kv_operands_o(values_operands),
                            .kv_sums_valid_i(state_q == Values && kv_sums_valid_i), .kv_low_i, .kv_high_i,
                            .o_valid_o(o_valid), .o_word_o(o_word), .o_o(o));
  assign kv_valid_o    = keys_valid || values_valid;
  assign kv_four_o     = four;
  assign kv_eight_o    = state_q == Keys && keys_eight;
  assign kv_line_o     = rd_data_i;
  assign kv_operands_o = state_q == Keys ? keys_operands : values_operands;

  // ---- merge ----
  logic merge_busy;
  acc_attn_merge u_merge (.clk_i, .rst_ni, .n_i(n), .part_valid_i(state_q == Inverse), .part_i(parts_q[5:0]), .max_i(max),
                          .sum_i(l), .o_valid_i(o_valid), .o_word_i(o_word), .o_i(o),
                          .start_i(state_q == Merge && fresh_q), .parts_i(parts_q),
                          .first_i({dst, 6'd0} + 16'(first_q)), .busy_o(merge_busy), .w_valid_o, .w_ready_i, .w_addr_o,
                          .w_data_o, .w_mask_o);

  // ---- in turn ----
  always_comb begin
    next = state_q;
    unique case (state_q)
      Idle:    if (cmd_valid_i) next = Plan;
      Plan:    if (!fresh_q && !plan_busy) next = refusal != acc_pkg::ErrorNone ? Done : Steps;
      Steps:   if (!fresh_q && !params_busy) next = Mean;
      Mean:    if (!fresh_q && !params_busy) next = Segment;
      Segment: if (segment_valid) next = Open;
               else if (!segments_busy && !fresh_q) next = Merge;
      Open:    if (!fresh_q && !walk_busy) next = Query;
      Query:   if (!fresh_q && !query_busy) next = Keys;
      Keys:    if (!fresh_q && words_asked && scores_idle) next = left_q == 9'd0 ? Weights : Query;
      Weights: if (!fresh_q && words_asked && weights_idle) next = Inverse;
      Inverse: if (op_done) next = Unit;
      Unit:    if (op_done) next = Values;
      Values:  if (!fresh_q && !values_busy) next = Segment;
      Merge:   if (!fresh_q && !merge_busy) next = last_head ? Done : Mean;
      default: next = Idle;
    endcase
  end
  assign cmd_ready_o = state_q == Idle;
  assign done_o      = state_q == Done;
  assign error_o     = error_q;

  always_ff @(posedge clk_i) begin
    if (cmd_ready_o) cmd_q <= cmd_i;
    if (state_q == Idle) error_q <= acc_pkg::ErrorNone;
    else if (state_q == Plan && next == Done) error_q <= refusal;
    else if ((state_q == Query && next == Keys && query_failed) || (state_q == Inverse && max[30:23] == 8'hff))
      error_q <= acc_pkg::ErrorNotFinite;
    if (state_q == Idle) begin
      {head_q, member_q, first_q, kv_first_q, channel_q, row_q} <= '0;
    end else if (state_q == Merge && next != Merge) begin
      head_q   <= head_q + 11'd1;
      first_q  <= first_q + 14'(n);
      member_q <= last_member ? 11'd0 : member_q + 11'd1;
      if (last_member) begin
        kv_first_q <= kv_first_q + 14'(n);
        channel_q  <= channel_q + spread == 6'(Channels) ? 6'd0 : channel_q + spread;
        if (channel_q + spread == 6'(Channels)) row_q <= row_q + map.head_lines;
      end
    end
    if (op_done && state_q == Inverse) inv_q <= y;
    if (op_done && state_q == Unit) unit_q <= y;
    if (state_q == Mean) parts_q <= '0;
    else if (state_q == Values && next == Segment) parts_q <= parts_q + 7'd1;
    if (state_q == Segment && segment_valid) begin
      part_q   <= part;
      pos_q    <= {low[63:4], 4'd0};
      from_q   <= low[3:0];
      to_q     <= 13'(high - {low[63:4], 4'd0});
      blocks_q <= 9'((high - {low[63:4], 4'd0} + 64'd15) >> 4);
      left_q   <= 9'((high - {low[63:4], 4'd0} + 64'd15) >> 4);
    end else if (state_q == Keys && fresh_q) begin
      left_q <= left_q - run;
    end
    if (state_q == Segment) block_pos_q <= {low[63:4], 4'd0};
    else if (state_q == Keys && fresh_q) block_pos_q <= block_pos_q + {51'd0, run, 4'd0};
    if (!rst_ni) begin
      state_q <= Idle;
      fresh_q <= 1'b0;
      todo_q  <= '0;
      asked_q <= '0;
    end else begin
      state_q <= next;
      fresh_q <= next != state_q;
      asked_q <= asked_q + (walk_next ? rq_count_o : 16'd0) - 16'(!loading && rd_valid_i && rd_ready_o);
      if (state_q == Keys && fresh_q) todo_q <= run;
      else if (state_q == Weights && fresh_q) todo_q <= blocks_q;
      else if (state_q == Values && fresh_q) todo_q <= value_blocks;
      else todo_q <= todo_q - 9'(walk_next);
    end
  end
endmodule
`default_nettype wire
