// The vector unit: VEC, MOV and TOP, an instruction at a time. Each is one or two passes over a vector: words of 16
// elements out of the vector memory or out of memory lines, through the lanes, into the code buffer, the vector memory
// or memory lines. Bit for bit src/accel/model_vector.c.
`default_nettype none
module acc_vec #(
  parameter int unsigned Channels = 1,  // a power of two
  parameter int unsigned Lanes = 16,    // 4, 8 or 16
  parameter int unsigned LineW = 24,
  localparam int unsigned AddrW = $clog2(acc_pkg::VmemBlocks * 4),
  localparam int unsigned CodeAddrW = $clog2(acc_pkg::CodesMax / 16),
  localparam int unsigned ChannelW = Channels == 1 ? 1 : $clog2(Channels)
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      cmd_valid_i,
  output logic                      cmd_ready_o,
  input  logic [127:0]              cmd_i,
  output logic                      done_o,
  output acc_pkg::error_e           error_o,          // with done_o
  output logic [4:0]                error_channel_o,
  input  logic [31:0]               token_i,          // of the run
  input  logic [31:0]               epsilon_i,
  input  logic [23:0]               lines_i,          // of a channel
  output logic                      best_valid_o,     // a TOP ends with done_o and has found
  output logic [31:0]               best_o,
  // the vector memory
  output logic                      r_valid_o,
  input  logic                      r_ready_i,
  output logic [AddrW-1:0]          r_addr_o,
  input  logic                      q_valid_i,
  input  logic [511:0]              q_data_i,
  output logic                      w_valid_o,
  input  logic                      w_ready_i,
  output logic [AddrW-1:0]          w_addr_o,
  output logic [511:0]              w_data_o,
  output logic [15:0]               w_mask_o,
  // the code buffer
  output logic                      code_valid_o,
  output logic [CodeAddrW-1:0]      code_addr_o,
  output logic [127:0]              code_o,
  output logic                      scale_valid_o,
  output logic [31:0]               scale_o,
  // memory
  output logic [Channels-1:0]       rq_valid_o,
  input  logic [Channels-1:0]       rq_ready_i,
  output logic [Channels*LineW-1:0] rq_line_o,
  output logic [Channels*16-1:0]    rq_count_o,
  input  logic [Channels-1:0]       rd_valid_i,
  output logic [Channels-1:0]       rd_ready_o,
  input  logic [Channels*512-1:0]   rd_data_i,
  output logic                      wq_valid_o,
  input  logic                      wq_ready_i,
  output logic [ChannelW-1:0]       wq_channel_o,
  output logic [LineW-1:0]          wq_line_o,
  output logic [511:0]              wq_data_o,
  output logic [63:0]               wq_strb_o,
  input  logic [Channels-1:0]       w_idle_i
);
  typedef enum logic [2:0] {
    Idle = 3'd0, Place = 3'd1, Check = 3'd2, Begin = 3'd3, Pass = 3'd4, Wait = 3'd5, Finish = 3'd6
  } state_e;
  typedef enum logic [2:0] {
    Head    = 3'd0,  // EMBED: lines of m, row scale
    Expand  = 3'd1,  // EMBED: codes to floats
    Gain    = 3'd2,  // EMBED: times token_embd_scale, in place
    Measure = 3'd3,  // NORM, CODES: maximum, sum of squares
    Gate    = 3'd4,  // SILU: SiLU(gate) * up, maximum
    Code    = 3'd5,  // VEC: codes
    Store   = 3'd6,  // STORE
    Argmax  = 3'd7   // TOP
  } pass_e;
  state_e          state_q;
  pass_e           pass_q;
  acc_pkg::error_e error_q;
  logic            ended;  // the pass
  logic            is_head, is_expand, is_gain, is_measure, is_gate, is_code, is_store, is_argmax;
  assign is_head    = pass_q == Head;
  assign is_expand  = pass_q == Expand;
  assign is_gain    = pass_q == Gain;
  assign is_measure = pass_q == Measure;
  assign is_gate    = pass_q == Gate;
  assign is_code    = pass_q == Code;
  assign is_store   = pass_q == Store;
  assign is_argmax  = pass_q == Argmax;

  // ---- the instruction ----
  logic             vec, norm, silu, embed, store, top, scaled, grouped;
  logic [1:0]       group;
  logic [23:0]      n;
  logic [LineW-1:0] address, scale_address, row;
  logic [20:0]      words;
  logic [18:0]      blocks;
  logic [3:0]       m_lines;
  logic [9:0]       block, dst;
  acc_pkg::error_e  refusal;
  acc_vec_decode #(.Channels(Channels), .LineW(LineW)) u_decode (
      .clk_i, .load_i(cmd_valid_i && cmd_ready_o), .cmd_i, .token_i, .lines_i, .vec_o(vec), .norm_o(norm),
      .silu_o(silu), .embed_o(embed), .store_o(store), .top_o(top), .scaled_o(scaled), .grouped_o(grouped),
      .group_o(group), .n_o(n), .words_o(words), .blocks_o(blocks), .m_lines_o(m_lines), .block_o(block), .dst_o(dst),
      .address_o(address), .scale_address_o(scale_address), .row_o(row), .refusal_o(refusal));

  // ---- the vectors of a pass: x, and y beside it ----
  logic         use_x, use_y, begin_pass, hold, x_valid, x_ready, y_valid, y_ready;
  logic [511:0] x, y;
  logic [10:0]  asked;
  assign begin_pass = state_q == Begin;
  assign use_x      = is_gain || is_measure || is_gate || is_code || is_store;
  assign use_y      = is_head || is_expand || is_gain || is_argmax || ((is_measure || is_code) && norm);
  acc_vec_words u_words (.clk_i, .rst_ni, .start_i(begin_pass && use_x), .block_i(is_code && silu ? dst : block),
                         .count_i(words[10:0]), .pairs_i(is_gate), .hold_i(hold), .asked_o(asked), .r_valid_o,
                         .r_ready_i, .r_addr_o, .q_valid_i, .q_data_i, .out_valid_o(x_valid), .out_ready_i(x_ready),
                         .out_data_o(x));

  logic [LineW-1:0]    y_line;
  logic [20:0]         y_count;
  logic [ChannelW-1:0] token_channel;
  assign token_channel = Channels == 1 ? '0 : token_i[ChannelW-1:0];
  always_comb begin
    unique case (pass_q)
      Head:    {y_line, y_count} = {row + LineW'(blocks), 21'(m_lines) + 21'd1};
      Expand:  {y_line, y_count} = {row, 21'(blocks)};
      Gain:    {y_line, y_count} = {scale_address, words};
      default: {y_line, y_count} = {address, words};
    endcase
  end
  acc_vec_lines #(.Channels(Channels), .LineW(LineW)) u_lines (
      .clk_i, .rst_ni, .start_i(begin_pass && use_y), .line_i(y_line), .count_i(y_count), .fours_i(top),
      .single_i(is_head || is_expand), .channel_i(token_channel), .rq_valid_o, .rq_ready_i, .rq_line_o,
      .rq_count_o, .rd_valid_i, .rd_ready_o, .rd_data_i, .out_valid_o(y_valid), .out_ready_i(y_ready), .out_data_o(y));

  // ---- words into the lanes ----
  logic         active, through, writes, room, taken, narrow_ready, beat_valid, held_q;  // through: the lanes
  logic [511:0] gate_q, first, second;
  logic [20:0]  at_q, left_q;   // words taken, still to take
  logic [15:0]  mask;           // elements of the present word
  logic [23:0]  rest_q;         // elements from it on
  logic [7:0]   m;
  logic [31:0]  row_scale_q;
  logic [511:0] m_lines_q [0:7];
  logic [Lanes*32-1:0] beat_x, beat_y;
  assign active  = state_q == Pass && left_q != 21'd0;
  assign through = !(is_head || is_store || is_argmax);
  assign writes  = is_expand || is_gain || is_gate;
  function automatic logic [15:0] lanes(input logic [23:0] elements);
    lanes = elements >= 24'd16 ? 16'hffff : 16'((17'd1 << elements[3:0]) - 17'd1);
  endfunction
  assign mask = lanes(rest_q);

  always_comb begin
    x_ready = 1'b0;
    y_ready = 1'b0;
    taken   = 1'b0;
    if (active) begin
      unique case (pass_q)
        Head, Argmax: taken = y_valid;
        Store:        taken = x_valid && wq_ready_i;
        Expand:       taken = y_valid && room && narrow_ready;
        Gate:         taken = x_valid && held_q && room && narrow_ready;
        Gain:         taken = x_valid && y_valid && room && narrow_ready;
        default:      taken = x_valid && (y_valid || !norm) && narrow_ready;
      endcase
      x_ready = use_x && (taken || (is_gate && !held_q));
      y_ready = use_y && taken && (!is_expand || at_q[1:0] == 2'd3);
    end
  end

  // A line of embedding codes is four words; its elements' m are alike, since a group has 32 or more.
  logic [8:0] m_at;
  assign m_at = 9'(at_q[9:0] >> (2'd1 + 3'(group)));
  assign m    = grouped ? m_lines_q[m_at[8:6]][m_at[5:0]*8 +: 8] : 8'd1;
  for (genvar l = 0; l < 16; l++) begin : gen_element
    assign first[l*32 +: 32] = !mask[l] ? 32'd0 : is_expand ? {16'd0, m, y[{at_q[1:0], 4'(l)}*8 +: 8]}
                               : is_gate ? gate_q[l*32 +: 32] : x[l*32 +: 32];
    assign second[l*32 +: 32] = !mask[l] ? 32'd0 : is_gate ? x[l*32 +: 32] : y[l*32 +: 32];
  end

  localparam int unsigned Parts = 16 / Lanes;
  logic [1023:0] pair;  // each beat its part of both
  for (genvar i = 0; i < Parts; i++) begin : gen_part
    assign pair[i*Lanes*64 +: Lanes*64] = {second[i*Lanes*32 +: Lanes*32], first[i*Lanes*32 +: Lanes*32]};
  end
  acc_narrow #(.Width(Lanes*64), .Parts(Parts)) u_narrow (.clk_i, .rst_ni, .in_valid_i(taken && through),
                                                          .in_ready_o(narrow_ready), .in_data_i(pair),
                                                          .out_valid_o(beat_valid), .out_data_o({beat_y, beat_x}));

  always_ff @(posedge clk_i) begin
    if (x_valid && x_ready && !held_q) gate_q <= x;
    if (taken && is_head) begin
      if (left_q == 21'd1) row_scale_q <= y[31:0];
      else m_lines_q[at_q[2:0]] <= y;
    end
    if (begin_pass) begin
      at_q   <= '0;
      left_q <= is_expand ? {blocks, 2'd0} : is_head ? y_count : words;
      rest_q <= n;
    end else if (taken) begin
      at_q   <= at_q + 21'd1;
      left_q <= left_q - 21'd1;
      rest_q <= rest_q < 24'd16 ? 24'd0 : rest_q - 24'd16;
    end
    if (!rst_ni) held_q <= 1'b0;
    else if (is_gate && x_valid && x_ready) held_q <= !held_q;
  end

  // ---- the lanes ----
  localparam int unsigned Front = 15;                       // cycles before the lanes' first product in GATE and EXPAND
  localparam int unsigned PAt = acc_fp_pkg::MulCycles - 1;  // places of results in tail_q
  localparam int unsigned WAt = 2 * acc_fp_pkg::MulCycles - 1;
  localparam int unsigned CodeAt = WAt + acc_fp_pkg::ToIntCycles + 1;
  logic [Front-1:0]    front_q;
  logic [CodeAt:0]     tail_q;
  logic [Lanes*32-1:0] w;
  logic [Lanes*31-1:0] sizes;
  logic [Lanes*8-1:0]  codes;
  logic [31:0]         inverse;
  logic                zero, late;
  assign late = is_gate || is_expand;
  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    acc_vec_lane u_lane (.clk_i, .measure_i(is_measure), .code_i(is_code), .gate_i(is_gate),
                         .expand_i(is_expand), .gain_i(use_y), .zero_i(zero), .inverse_i(inverse),
                         .row_scale_i(row_scale_q), .x_i(beat_x[l*32 +: 32]), .y_i(beat_y[l*32 +: 32]),
                         .size_o(sizes[l*31 +: 31]), .w_o(w[l*32 +: 32]), .code_o(codes[l*8 +: 8]));
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      front_q <= '0;
      tail_q  <= '0;
    end else begin
      front_q <= {front_q[Front-2:0], beat_valid && late};
      tail_q  <= {tail_q[CodeAt-1:0], late ? front_q[Front-1] : beat_valid};
    end
  end

  // ---- maximum, sum, scale ----
  logic         max_busy, word_valid, sum_valid, sum_ready, sum_in_ready, scale_start, inverse_valid, scale_done, bad;
  logic [30:0]  max;
  logic [31:0]  sum;
  logic [511:0] word;
  logic [20:0]  out_q;    // words out of the lanes
  acc_vec_max #(.Lanes(Lanes)) u_max (.clk_i, .rst_ni, .clear_i(begin_pass && (is_measure || is_gate)),
                                      .valid_i(is_gate ? tail_q[WAt] : is_measure && tail_q[PAt]),
                                      .size_i(sizes), .busy_o(max_busy), .max_o(max));
  acc_widen #(.Width(Lanes*32), .Parts(Parts)) u_word (.clk_i, .rst_ni,
                                                       .in_valid_i(is_measure ? tail_q[PAt] : writes && tail_q[WAt]),
                                                       .in_data_i(w), .out_valid_o(word_valid), .out_data_o(word));
  acc_fp_sum u_sum (.clk_i, .rst_ni, .in_valid_i(word_valid && is_measure && norm), .in_ready_o(sum_in_ready),
                    .x_i(word), .last_i(out_q == words - 21'd1), .out_valid_o(sum_valid), .out_ready_i(sum_ready),
                    .sum_o(sum));
  acc_vec_scale u_scale (.clk_i, .rst_ni, .start_i(scale_start), .norm_i(norm), .n_i(n[14:0]), .epsilon_i,
                         .max_i(max), .sum_valid_i(sum_valid), .sum_ready_o(sum_ready), .sum_i(sum),
                         .inverse_valid_o(inverse_valid), .inverse_o(inverse), .zero_o(zero), .done_o(scale_done),
                         .bad_o(bad), .scale_o);
  assign scale_start = state_q == Pass && ended && (is_measure || is_gate);

  // ---- codes, zero behind the vector up to a multiple of 128 ----
  logic                 code_valid, padding;
  logic [127:0]         code_word;
  logic [CodeAddrW:0]   code_at_q, code_end;
  acc_widen #(.Width(Lanes*8), .Parts(Parts)) u_codes (.clk_i, .rst_ni, .in_valid_i(is_code && tail_q[CodeAt]),
                                                       .in_data_i(codes), .out_valid_o(code_valid),
                                                       .out_data_o(code_word));
  assign code_end     = (CodeAddrW + 1)'({(words + 21'd7) >> 3, 3'd0});
  assign padding      = state_q == Pass && is_code && code_at_q >= words[CodeAddrW:0] && code_at_q != code_end;
  assign code_valid_o = code_valid || padding;
  assign code_addr_o  = code_at_q[CodeAddrW-1:0];
  assign code_o       = padding ? 128'd0 : code_word;

  // ---- words into the vector memory ----
  localparam int unsigned Depth = 32;  // more than the lanes hold
  logic         write_ready;
  logic [5:0]   under_way_q;  // words in the lanes or waiting
  logic [20:0]  written_q;
  logic [23:0]  write_rest_q;
  logic [15:0]  write_mask;
  logic [511:0] write_word;
  assign room       = under_way_q != 6'(Depth);
  assign write_mask = lanes(write_rest_q);
  assign w_addr_o   = {(is_gate ? dst : block), 2'd0} + AddrW'(written_q);
  assign w_mask_o   = is_expand ? 16'hffff : write_mask;
  for (genvar l = 0; l < 16; l++) begin : gen_write  // behind an embedding: zeros
    assign w_data_o[l*32 +: 32] = write_mask[l] ? write_word[l*32 +: 32] : 32'd0;
  end
  acc_fifo #(.Width(512), .Depth(Depth)) u_write (.clk_i, .rst_ni, .in_valid_i(word_valid && writes),
                                                  .in_ready_o(write_ready), .in_data_i(word), .out_valid_o(w_valid_o),
                                                  .out_ready_i(w_ready_i), .out_data_o(write_word));
  // Where results land on what is still to be read, a block is written before the next is read.
  assign hold = is_gate && dst > block && 12'(dst) < 12'(block) + 12'({blocks[9:0], 1'b0}) &&
                asked[1:0] == 2'd0 && 21'(asked) != written_q;

  always_ff @(posedge clk_i) begin
    if (begin_pass) begin
      out_q        <= '0;
      code_at_q    <= '0;
      written_q    <= '0;
      write_rest_q <= n;
    end else begin
      out_q     <= out_q + 21'(word_valid);
      code_at_q <= code_at_q + (CodeAddrW + 1)'(code_valid_o);
      if (w_valid_o && w_ready_i) begin
        written_q    <= written_q + 21'd1;
        write_rest_q <= write_rest_q < 24'd16 ? 24'd0 : write_rest_q - 24'd16;
      end
    end
    if (!rst_ni) under_way_q <= '0;
    else under_way_q <= under_way_q + 6'(taken && writes) - 6'(w_valid_o && w_ready_i);
  end

  // ---- lines ----
  assign wq_valid_o   = active && is_store && x_valid;
  assign wq_channel_o = Channels == 1 ? '0 : at_q[ChannelW-1:0];
  assign wq_line_o    = address + (LineW'(at_q) >> $clog2(Channels));
  assign wq_data_o    = x;
  for (genvar l = 0; l < 16; l++) begin : gen_strobe
    assign wq_strb_o[l*4 +: 4] = {4{mask[l]}};
  end

  // ---- the largest ----
  logic        top_busy;
  logic [23:0] best;
  acc_top u_top (.clk_i, .rst_ni, .clear_i(begin_pass && is_argmax), .valid_i(taken && is_argmax),
                 .x_i(y), .mask_i(mask), .word_i(at_q[19:0]), .busy_o(top_busy), .best_o(best));
  assign best_o       = {8'd0, best};
  assign best_valid_o = done_o && top && error_q == acc_pkg::ErrorNone;

  // ---- from pass to pass ----
  logic lanes_busy;
  assign lanes_busy = beat_valid || front_q != '0 || tail_q != '0 || max_busy || under_way_q != 6'd0 || padding;
  assign ended      = left_q == 21'd0 && !lanes_busy && !top_busy && (!is_store || &w_idle_i);

  assign cmd_ready_o     = state_q == Idle;
  assign done_o          = state_q == Finish && (error_q != acc_pkg::ErrorNone || !vec || scale_done);
  assign error_o         = error_q == acc_pkg::ErrorNone && vec && bad ? acc_pkg::ErrorNotFinite : error_q;
  assign error_channel_o = '0;
  assign scale_valid_o   = done_o && vec && error_o == acc_pkg::ErrorNone;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      pass_q  <= Head;
      error_q <= acc_pkg::ErrorNone;
    end else begin
      unique case (state_q)
        Idle:  if (cmd_valid_i) state_q <= Place;
        Place: state_q <= Check;
        Check: begin
          error_q <= refusal;
          state_q <= refusal == acc_pkg::ErrorNone ? Begin : Finish;
          pass_q  <= top ? Argmax : embed ? Head : store ? Store : silu ? Gate : Measure;
        end
        Begin: state_q <= Pass;
        Pass: if (ended) begin
          state_q <= Finish;
          if (is_head || (is_expand && scaled)) begin
            state_q <= Begin;
            pass_q  <= is_head ? Expand : Gain;
          end
          if (is_measure || is_gate) state_q <= Wait;
        end
        Wait: begin
          if (bad && scale_done) state_q <= Finish;
          else if (!bad && inverse_valid) begin
            state_q <= Begin;
            pass_q  <= Code;
          end
        end
        default: if (done_o) state_q <= Idle;
      endcase
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) word_valid && writes |-> write_ready);
  assert property (@(posedge clk_i) disable iff (!rst_ni) word_valid && is_measure && norm |-> sum_in_ready);
`endif
endmodule
`default_nettype wire
