// The query of one head as a page of keys sees it, or the sinks (docs/numerics.md, "Attention of one query and head", step
// 1): rotated by its distance, transformed and coded to 8 bits, with the sum of its codes, c = qscale * kappa and beta. A
// query of 64 dimensions takes about 290 cycles, one of 128 about 380.
`default_nettype none
module acc_attn_query (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          start_i,
  input  logic [8:0]    n_i,           // these are constant until the end
  input  logic [15:0]   first_i,       // element of the vector memory
  input  logic [63:0]   distance_i,
  input  logic          window_i,      // 0: for the sinks
  input  logic          has_mean_i,
  input  logic [31:0]   scale_i,       // of attention
  output logic          busy_o,
  // vector memory
  output logic          r_valid_o,
  input  logic          r_ready_i,
  output logic [11:0]   r_addr_o,
  input  logic          q_valid_i,
  input  logic [511:0]  q_data_i,
  // rotation steps and the mean, in the same cycle
  output logic [6:0]    step_index_o,
  input  logic [63:0]   step_i,
  output logic [3:0]    mean_word_o,
  input  logic [511:0]  mean_i,
  // these stand from the end until the next start
  output logic [2047:0] codes_o,       // a byte each, 0 from n_i on
  output logic [16:0]   sum_o,         // signed
  output logic [31:0]   c_o,
  output logic [31:0]   beta_o,
  output logic          failed_o       // not finite
);
  typedef enum logic [3:0] {Idle = 4'd0, Load = 4'd1, Rotate = 4'd2, Dot = 4'd3, Beta = 4'd4, Transform = 4'd5,
                            Range = 4'd6, Invert = 4'd7, Scale = 4'd8, Kappa = 4'd9, Product = 4'd10, Codes = 4'd11,
                            Sum = 4'd12} state_e;
  localparam logic [31:0] Most = 32'h42fe0000;   // 127
  localparam logic [30:0] Least = 31'h0d800000;  // 2^-100: below it all codes are 0
  state_e state_q, next;
  logic   fresh_q;

  // ---- load, turn ----
  logic         words_busy, angles_busy, turn_busy;
  logic [7:0]   base;
  logic [15:0]  mask;
  logic [2:0]   angle_word;
  logic [3:0]   turn_mean_word, range_word, codes_word, dot_word, x_word;
  logic [511:0] cosines, sines, x;
  acc_words u_words (.clk_i, .rst_ni, .start_i, .first_i, .n_i, .busy_o(words_busy), .rq_valid_o(r_valid_o),
                     .rq_ready_i(r_ready_i), .rq_word_o(r_addr_o), .in_valid_i(q_valid_i), .base_o(base), .mask_o(mask));
  acc_angles u_angles (.clk_i, .rst_ni, .start_i, .distance_i, .pairs_i(n_i[8:1]), .busy_o(angles_busy), .step_index_o,
                       .step_i, .word_i(angle_word), .cos_o(cosines), .sin_o(sines));
  acc_head_turn u_turn (.clk_i, .rst_ni, .n_i, .w_valid_i(state_q == Load && q_valid_i), .w_base_i(base), .w_mask_i(mask),
                        .w_data_i(q_data_i), .r_word_i(x_word), .r_o(x),
                        .start_i((state_q == Rotate || state_q == Transform) && fresh_q),
                        .turn_i(state_q == Rotate ? acc_unit_pkg::TurnRotate : acc_unit_pkg::TurnTransform),
                        .busy_o(turn_busy), .angle_word_o(angle_word), .cos_i(cosines), .sin_i(sines),
                        .mean_word_o(turn_mean_word), .mean_i(mean_i));
  assign mean_word_o = state_q == Dot ? dot_word : turn_mean_word;
  assign x_word      = state_q == Dot ? dot_word : state_q == Range ? range_word : codes_word;

  // ---- beta, range, codes ----
  logic        dot_busy, range_busy, codes_busy, finite, blank;
  logic [31:0] dot, inv_q, scale_q, kappa_q, c_q, beta_q, a, b, y, largest;
  logic [30:0] above, below;
  acc_head_dot u_dot (.clk_i, .rst_ni, .start_i(state_q == Dot && fresh_q), .n_i, .busy_o(dot_busy), .word_o(dot_word),
                      .a_i(x), .b_i(mean_i), .sum_o(dot));
  acc_head_range u_range (.clk_i, .rst_ni, .start_i(state_q == Range && fresh_q), .n_i, .busy_o(range_busy),
                          .word_o(range_word), .x_i(x), .above_o(above), .below_o(below), .finite_o(finite));
  acc_head_codes u_codes (.clk_i, .rst_ni, .start_i(state_q == Codes && fresh_q), .n_i, .eight_i(1'b1), .blank_i(blank),
                          .inv_i(inv_q), .zero_i(4'd0), .busy_o(codes_busy), .word_o(codes_word), .x_i(x), .codes_o);
  assign largest = {1'b0, above > below ? above : below};
  assign blank   = largest[30:0] < Least;

  // ---- one number after the other ----
  logic              op_start, op_done;
  acc_unit_pkg::op_e op;
  logic [3:0]        log;  // of the transform's block
  always_comb begin
    log = 4'd8;
    for (int i = 7; i > 0; i--) if (n_i[i]) log = 4'(i);
    unique case (state_q)
      Beta:    {op, a, b} = {acc_unit_pkg::OpMul, dot, scale_i};
      Invert:  {op, a, b} = {acc_unit_pkg::OpDiv, Most, largest};
      Scale:   {op, a, b} = {acc_unit_pkg::OpDiv, largest, Most};
      Kappa:   {op, a, b} = {acc_unit_pkg::OpMul, scale_i, window_i ? {1'b0, 8'd127 - 8'(log), 23'd0} : acc_unit_pkg::One};
      default: {op, a, b} = {acc_unit_pkg::OpMul, blank ? 32'd0 : scale_q, kappa_q};
    endcase
  end
  assign op_start = state_q == Beta || state_q == Invert || state_q == Scale || state_q == Kappa || state_q == Product;
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(op_start), .op_i(op), .a_i(a), .b_i(b), .done_o(op_done), .y_o(y));

  logic [16:0] sum_q, word_sum;
  logic [3:0]  word_q;
  always_comb begin
    word_sum = '0;
    for (int l = 0; l < 16; l++) word_sum += 17'(signed'(codes_o[{word_q, 4'(l), 3'd0} +: 8]));
  end

  always_comb begin
    next = state_q;
    unique case (state_q)
      Idle:      if (start_i) next = Load;
      Load:      if (!words_busy && !angles_busy) next = Rotate;
      Rotate:    if (!fresh_q && !turn_busy) next = !window_i ? Range : has_mean_i ? Dot : Transform;
      Dot:       if (!fresh_q && !dot_busy) next = Beta;
      Beta:      if (op_done) next = Transform;
      Transform: if (!fresh_q && !turn_busy) next = Range;
      Range:     if (!fresh_q && !range_busy) next = !finite ? Idle : Invert;
      Invert:    if (op_done) next = Scale;
      Scale:     if (op_done) next = Kappa;
      Kappa:     if (op_done) next = Product;
      Product:   if (op_done) next = Codes;
      Codes:     if (!fresh_q && !codes_busy) next = Sum;
      default:   if (word_q == 4'd15) next = Idle;
    endcase
  end
  assign busy_o   = state_q != Idle;
  assign sum_o    = sum_q;
  assign c_o      = c_q;
  assign beta_o   = beta_q;
  assign failed_o = !finite || c_q[30:23] == 8'hff || beta_q[30:23] == 8'hff;

  always_ff @(posedge clk_i) begin
    if (start_i) beta_q <= '0;
    else if (op_done && state_q == Beta) beta_q <= y;
    if (op_done) begin
      if (state_q == Invert) inv_q <= y;
      if (state_q == Scale) scale_q <= y;
      if (state_q == Kappa) kappa_q <= y;
      if (state_q == Product) c_q <= y;
    end
    if (state_q == Codes) sum_q <= '0;
    else if (state_q == Sum) sum_q <= sum_q + word_sum;
    word_q <= state_q == Sum ? word_q + 4'd1 : 4'd0;
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
