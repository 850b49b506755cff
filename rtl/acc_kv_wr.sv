// KVW: codes the token's keys and values and writes them into the cache (docs/numerics.md, "Keys, values, queries";
// src/accel/cache_map.h). A sink goes into the sinks at 8 bits; any other position into the ring and, with a 4-bit cache,
// at 8 bits into the near ring as well.
//
// Heads in turn: key out of the vector memory, mean and direction out of memory, turn, then codes and their lines for each
// part; then the value. Reads are one request at a time; their lines come in order and are always taken.
`default_nettype none
module acc_kv_wr #(
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
  // memory
  output logic                           rq_valid_o,
  input  logic                           rq_ready_i,
  output logic [ChannelW-1:0]            rq_channel_o,
  output logic [acc_unit_pkg::LineW-1:0] rq_line_o,
  output logic [15:0]                    rq_count_o,
  input  logic                           rd_valid_i,
  output logic                           rd_ready_o,
  input  logic [511:0]                   rd_data_i,
  output logic                           wq_valid_o,
  input  logic                           wq_ready_i,
  output logic [ChannelW-1:0]            wq_channel_o,
  output logic [acc_unit_pkg::LineW-1:0] wq_line_o,
  output logic [511:0]                   wq_data_o,
  output logic [63:0]                    wq_strb_o,
  input  logic                           w_idle_i         // every line that was taken is written
);
  localparam int unsigned LineW = acc_unit_pkg::LineW;
  typedef enum logic [3:0] {Idle = 4'd0, Plan = 4'd1, Steps = 4'd2, Place = 4'd3, NearPlace = 4'd4, Angles = 4'd5,
                            Load = 4'd6, Mean = 4'd7, Direction = 4'd8, Old = 4'd9, Rotate = 4'd10, Subtract = 4'd11,
                            Transform = 4'd12, Quant = 4'd13, Put = 4'd14, Flush = 4'd15} state_e;
  state_e       state_q, next;
  logic         fresh_q;   // the state's first cycle
  logic         value_q, near_q, head_ends, last_head;
  logic [127:0] cmd_q;

  // ---- the instruction and the geometry ----
  logic [9:0]  keys, values, vector_lines;
  logic [23:0] cache, params;
  logic        has_mean, has_direction;
  logic        plan_busy, bad, sink, four, near;
  logic [3:0]  page_log;
  logic [8:0]  n, dims;
  logic [5:0]  spread;
  logic [11:0] in_page;    // the position's place in its page
  logic [21:0] ring_slot;
  acc_unit_pkg::map_t        map;
  acc_pkg::error_e      refusal, error_q;
  assign keys          = cmd_q[acc_pkg::KvwKeysLsb +: acc_pkg::KvwKeysW];
  assign values        = cmd_q[acc_pkg::KvwValuesLsb +: acc_pkg::KvwValuesW];
  assign cache         = cmd_q[acc_pkg::KvwCacheLsb +: acc_pkg::KvwCacheW];
  assign params        = cmd_q[acc_pkg::KvwParamsLsb +: acc_pkg::KvwParamsW];
  assign has_mean      = cmd_q[acc_pkg::KvwMeanLsb];
  assign has_direction = cmd_q[acc_pkg::KvwDirectionLsb];
  assign n             = settings_i.head_dim[8:0];
  assign sink          = settings_i.position < 64'(settings_i.sinks);
  assign four          = settings_i.kv_bits == 32'd4;
  assign near          = settings_i.nears != 32'd0;
  assign in_page       = settings_i.position[11:0] & 12'((13'd1 << page_log) - 13'd1);
  assign ring_slot     = (22'(settings_i.ring_page) << page_log) + 22'(in_page);
  assign dims          = map.dims;
  assign spread        = map.spread;
  acc_cache_plan #(.Channels(Channels)) u_plan (.clk_i, .rst_ni, .start_i(state_q == Plan && fresh_q), .settings_i,
                                                .busy_o(plan_busy), .bad_o(bad), .map_o(map), .page_log_o(page_log));
  acc_cache_check #(.Channels(Channels)) u_check (
      .bad_i(bad), .lines_i, .map_i(map), .settings_i, .cache_i(cache), .params_i(params),
      .vectors_i(2'(has_mean) + 2'(has_direction)), .block_a_i(keys), .block_b_i(values), .floats_i(map.kv_floats),
      .vector_lines_o(vector_lines), .error_o(refusal));

  // ---- where the position goes: block by channels of a head, for the near ring and for the other part ----
  logic        div_done;
  logic [18:0] block, quotient, part_block_q, near_block_q;
  logic [10:0] rest, part_rest_q, near_rest_q;
  assign block = state_q == NearPlace ? 19'(settings_i.near_slot[8:4]) :
                 sink ? 19'(settings_i.position[9:4]) : 19'(ring_slot >> 4);
  acc_udiv u_div (.clk_i, .rst_ni, .start_i((state_q == Place || state_q == NearPlace) && fresh_q), .a_i(block),
                  .b_i(11'(spread)), .done_o(div_done), .quotient_o(quotient), .rest_o(rest));
  always_ff @(posedge clk_i) begin
    if (state_q == Place) {part_block_q, part_rest_q} <= {quotient, rest};
    if (state_q == NearPlace) {near_block_q, near_rest_q} <= {quotient, rest};
  end

  // ---- heads ----
  logic [10:0]        head_q;
  logic [13:0]        first_q;        // element of the head
  logic [5:0]         channel_q;      // its first
  logic [LineW-1:0]   row_q;          // lines of the heads before it in that channel
  logic [3*LineW-1:0] starts;
  logic [LineW-1:0]   line, start;
  logic [6:0]         block_lines;
  logic               eight;          // the part's bits
  logic [3:0]         in_block;
  assign eight       = sink || near_q || !four;
  assign block_lines = eight ? map.block8 : map.block4;
  assign starts      = value_q ? map.values : map.keys;
  assign start       = near_q ? starts[2*LineW +: LineW] : sink ? starts[LineW-1:0] : starts[LineW +: LineW];
  assign line        = LineW'(cache) + row_q + start +
                       LineW'((near_q ? 26'(near_block_q) : 26'(part_block_q)) * 26'(block_lines));
  assign in_block    = near_q ? settings_i.near_slot[3:0] : settings_i.position[3:0];
  assign wq_channel_o = Channels == 1 ? '0 : ChannelW'(11'(channel_q) + (near_q ? near_rest_q : part_rest_q));

  // ---- vectors in ----
  logic                words_busy, params_busy, params_start, loading;
  logic                params_valid, params_ready;
  logic [15:0]         vmem_mask, params_mask, vmem_first;
  logic [7:0]          vmem_base, params_base;
  logic [LineW-1:0]    params_line, params_at;
  logic [ChannelW-1:0] params_channel;
  logic [511:0]        steps [0:15], steps_line, mean, direction, unused_mean, unused_direction;
  logic [6:0]          step_index;
  logic [3:0]          mean_word, quant_word;
  assign loading      = state_q == Steps || state_q == Mean || state_q == Direction;
  assign params_start = loading && fresh_q;
  assign params_line  = state_q == Steps ? LineW'(settings_i.rope) : LineW'(params) +
                        (state_q == Direction && has_mean ? LineW'(vector_lines) : LineW'(0));
  assign vmem_first   = {value_q ? values : keys, 6'd0} + 16'(first_q);
  acc_words u_words (.clk_i, .rst_ni, .start_i(state_q == Load && fresh_q), .first_i(vmem_first), .n_i(n),
                     .busy_o(words_busy), .rq_valid_o(r_valid_o), .rq_ready_i(r_ready_i), .rq_word_o(r_addr_o),
                     .in_valid_i(q_valid_i), .base_o(vmem_base), .mask_o(vmem_mask));
  acc_params_rd #(.Channels(Channels)) u_params (
      .clk_i, .rst_ni, .start_i(params_start), .line_i(params_line), .first_i(state_q == Steps ? 14'd0 : first_q),
      .n_i(n), .busy_o(params_busy), .rq_valid_o(params_valid), .rq_ready_i(params_ready), .rq_channel_o(params_channel),
      .rq_line_o(params_at), .rd_valid_i(loading && rd_valid_i), .base_o(params_base), .mask_o(params_mask));
  assign params_ready = loading && rq_ready_i;
  assign rq_valid_o   = loading ? params_valid : state_q == Old;
  assign rq_channel_o = loading ? params_channel : wq_channel_o;
  assign rq_line_o    = loading ? params_at : line;
  assign rq_count_o   = loading ? 16'd1 : 16'(dims) >> 3;
  assign rd_ready_o   = 1'b1;
  assign steps_line   = steps[step_index[6:3]];
  always_ff @(posedge clk_i) if (state_q == Steps && rd_valid_i) steps[params_base[7:4]] <= rd_data_i;
  acc_head_mem u_mean (.clk_i, .n_i(n), .w_valid_i(state_q == Mean && rd_valid_i), .w_side_i(1'b0),
                       .w_base_i(params_base), .w_mask_i(params_mask), .w_data_i(rd_data_i), .r_side_i(1'b0),
                       .a_word_i(mean_word), .a_o(mean), .b_base_i(8'd0), .b_o(unused_mean));
  acc_head_mem u_direction (.clk_i, .n_i(has_direction ? n : 9'd0), .w_valid_i(state_q == Direction && rd_valid_i),
                            .w_side_i(1'b0), .w_base_i(params_base), .w_mask_i(params_mask), .w_data_i(rd_data_i),
                            .r_side_i(1'b0), .a_word_i(quant_word), .a_o(direction), .b_base_i(8'd0),
                            .b_o(unused_direction));

  // ---- turn, code, put ----
  logic         angles_busy, turn_busy, quant_busy, quant_failed, put_busy, failed_q;
  logic [2:0]   angle_word;
  logic [511:0] cosines, sines, x;
  logic [2047:0] codes;
  logic [15:0]  scale;
  logic [63:0]  strb;
  logic [3:0]   zero;
  acc_unit_pkg::turn_e        turn;
  acc_unit_pkg::code_e        code;
  acc_angles u_angles (.clk_i, .rst_ni, .start_i(state_q == Angles && fresh_q),
                       .distance_i(sink ? settings_i.position : 64'(in_page)), .pairs_i(n[8:1]), .busy_o(angles_busy),
                       .step_index_o(step_index), .step_i(steps_line[{step_index[2:0], 6'd0} +: 64]),
                       .word_i(angle_word), .cos_o(cosines), .sin_o(sines));
  assign turn = state_q == Rotate ? acc_unit_pkg::TurnRotate :
                state_q == Subtract ? acc_unit_pkg::TurnMean : acc_unit_pkg::TurnTransform;
  acc_head_turn u_turn (.clk_i, .rst_ni, .n_i(n), .w_valid_i(state_q == Load && q_valid_i), .w_base_i(vmem_base),
                        .w_mask_i(vmem_mask), .w_data_i(q_data_i), .r_word_i(quant_word), .r_o(x),
                        .start_i((state_q == Rotate || state_q == Subtract || state_q == Transform) && fresh_q),
                        .turn_i(turn), .busy_o(turn_busy), .angle_word_o(angle_word), .cos_i(cosines), .sin_i(sines),
                        .mean_word_o(mean_word), .mean_i(mean));
  assign code = eight ? acc_unit_pkg::CodeEight : value_q ? acc_unit_pkg::CodeValue : acc_unit_pkg::CodeKey;
  acc_kv_quant u_quant (.clk_i, .rst_ni, .start_i(state_q == Quant && fresh_q), .code_i(code), .n_i(n),
                        .busy_o(quant_busy), .word_o(quant_word), .x_i(x), .m_i(direction), .failed_o(quant_failed),
                        .codes_o(codes), .scale_o(scale), .zero_o(zero));
  acc_kv_put u_put (.clk_i, .rst_ni, .start_i(state_q == Put && fresh_q), .four_i(!eight), .value_i(value_q),
                    .position_i(in_block), .dims_i(dims), .line_i(line), .codes_i(codes), .scale_i(scale), .zero_i(zero),
                    .busy_o(put_busy), .old_start_i(state_q == Old && fresh_q), .old_valid_i(!loading && rd_valid_i),
                    .old_i(rd_data_i), .wq_valid_o, .wq_ready_i, .wq_line_o, .wq_data_o, .wq_strb_o(strb));
  assign wq_strb_o = failed_q ? 64'd0 : strb;  // of a head that fails nothing more is written

  // ---- in turn ----
  logic second, old;
  assign second    = near && !sink && !near_q;    // the near ring is next
  assign old       = four && !sink;               // keys share bytes with what stands there
  assign head_ends = state_q == Put && next != Put && next != Quant && value_q;
  assign last_head = head_q + 11'd1 == settings_i.kv_heads[10:0];
  always_comb begin
    next = state_q;
    if (!fresh_q) begin
      unique case (state_q)
        Plan:      if (!plan_busy) next = refusal != acc_pkg::ErrorNone ? Flush : Steps;
        Steps:     if (!params_busy) next = Place;
        Place:     if (div_done) next = near ? NearPlace : Angles;
        NearPlace: if (div_done) next = Angles;
        Angles:    if (!angles_busy) next = Load;
        Load:      if (!words_busy) next = value_q ? Quant : has_mean && !sink ? Mean :
                                           has_direction && old ? Direction : old ? Old : Rotate;
        Mean:      if (!params_busy) next = has_direction && old ? Direction : old ? Old : Rotate;
        Direction: if (!params_busy) next = Old;
        Rotate:    if (!turn_busy) next = sink ? Quant : has_mean ? Subtract : Transform;
        Subtract:  if (!turn_busy) next = Transform;
        Transform: if (!turn_busy) next = Quant;
        Quant:     if (!quant_busy) next = Put;
        Put:       if (!put_busy) next = second ? Quant : value_q && last_head ? Flush : Load;
        Flush:     if (w_idle_i) next = Idle;
        default: ;
      endcase
    end
    if (state_q == Idle && cmd_valid_i) next = Plan;
    if (state_q == Old && rq_ready_i) next = Rotate;
  end
  assign cmd_ready_o = state_q == Idle;
  assign done_o      = state_q == Flush && next == Idle;
  assign error_o     = error_q;

  always_ff @(posedge clk_i) begin
    if (cmd_ready_o) cmd_q <= cmd_i;
    if (state_q == Idle) error_q <= acc_pkg::ErrorNone;
    else if (state_q == Plan && next == Flush) error_q <= refusal;
    else if (state_q == Quant && next == Put && quant_failed) error_q <= acc_pkg::ErrorNotFinite;
    if (state_q == Idle || head_ends) failed_q <= 1'b0;
    else if (state_q == Quant && next == Put && quant_failed) failed_q <= 1'b1;
    if (state_q == Idle) begin
      {value_q, near_q} <= 2'b00;
      {head_q, first_q, channel_q, row_q} <= '0;
    end else if (state_q == Put && next != Put) begin
      near_q  <= second;
      value_q <= second ? value_q : !value_q;
      if (head_ends) begin
        head_q    <= head_q + 11'd1;
        first_q   <= first_q + 14'(n);
        channel_q <= channel_q + spread == 6'(Channels) ? 6'd0 : channel_q + spread;
        if (channel_q + spread == 6'(Channels)) row_q <= row_q + map.head_lines;
      end
    end
    if (!rst_ni) begin
      state_q <= Idle;
      fresh_q <= 1'b0;
    end else begin
      state_q <= next;
      fresh_q <= next != state_q;
    end
  end
endmodule
`default_nettype wire
