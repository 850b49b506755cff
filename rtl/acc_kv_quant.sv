// Codes, scale and zero of a head's key or value (docs/numerics.md, "Keys, values, queries"), of 8 bits, of a value of 4
// bits or of a key of 4 bits. Cycles, w words of 16 elements: 2 w + 49, 2 w + 62, about 19 w + 560.
`default_nettype none
module acc_kv_quant (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                start_i,
  input  acc_unit_pkg::code_e code_i,    // these are constant until the end
  input  logic [8:0]          n_i,
  output logic                busy_o,
  output logic [3:0]          word_o,    // acc_head_turn
  input  logic [511:0]        x_i,
  input  logic [511:0]        m_i,       // main direction of the queries, +0: none
  output logic                failed_o,  // these stand from the end until the next start: not finite
  output logic [2047:0]       codes_o,
  output logic [15:0]         scale_o,
  output logic [3:0]          zero_o
);
  typedef enum logic [3:0] {Idle = 4'd0, Range = 4'd1, Span = 4'd2, Step = 4'd3, Half = 4'd4, Search = 4'd5, Fit = 4'd6,
                            Invert = 4'd7, Zero = 4'd8, Round = 4'd9, Code = 4'd10} state_e;
  localparam logic [31:0] Part127 = 32'h3c010204, Part15 = 32'h3d888889;  // 1 / 127, 1 / 15
  state_e             state_q, next;
  logic               fresh_q, failed_q, blank_q, eight, key, op_start, op_done;
  logic               range_busy, finite, codes_busy, codes_start, search_busy, search_codes;
  logic [3:0]         range_word, codes_word, search_word, zero_q, search_zero;
  logic [30:0]        above, below;
  logic [31:0]        high, low, step_q, inv_q, search_inv, fit, y_q, a, b, y;
  logic [15:0]        half, scale_q;
  acc_unit_pkg::op_e  op;
  assign eight    = code_i == acc_unit_pkg::CodeEight;
  assign key      = code_i == acc_unit_pkg::CodeKey;
  assign busy_o   = state_q != Idle;
  assign failed_o = failed_q;
  assign scale_o  = scale_q;
  assign zero_o   = zero_q;
  assign high     = {1'b0, above};
  assign low      = {1'b1, below};  // -0 where nothing is below, which changes no sum
  assign half     = acc_fp_pkg::to_half(state_q == Fit ? fit : step_q);

  acc_head_range u_range (.clk_i, .rst_ni, .start_i, .n_i, .busy_o(range_busy), .word_o(range_word), .x_i,
                          .above_o(above), .below_o(below), .finite_o(finite));
  acc_key_search u_search (.clk_i, .rst_ni, .start_i(state_q == Search && fresh_q), .n_i, .high_i(high), .low_i(low),
                           .step_i(step_q), .busy_o(search_busy), .word_o(search_word), .x_i, .m_i,
                           .codes_start_o(search_codes), .codes_busy_i(codes_busy), .codes_i(codes_o),
                           .inv_o(search_inv), .zero_o(search_zero), .fit_o(fit));
  assign codes_start = search_codes || (state_q == Code && fresh_q);
  acc_head_codes u_codes (.clk_i, .rst_ni, .start_i(codes_start), .n_i, .eight_i(eight), .blank_i(blank_q),
                          .inv_i(key ? search_inv : inv_q), .zero_i(state_q == Search ? search_zero : zero_q),
                          .busy_o(codes_busy), .word_o(codes_word), .x_i, .codes_o);
  assign word_o = codes_busy ? codes_word : range_busy ? range_word : search_word;

  always_comb begin
    unique case (state_q)
      Span:    {op, a, b} = {acc_unit_pkg::OpAdd, high, {1'b0, below}};
      Step:    {op, a, b} = {acc_unit_pkg::OpMul, eight ? {1'b0, above > below ? above : below} : y_q,
                             eight ? Part127 : Part15};
      Invert:  {op, a, b} = {acc_unit_pkg::OpDiv, acc_unit_pkg::One, acc_fp_pkg::from_half(scale_q)};
      Zero:    {op, a, b} = {acc_unit_pkg::OpMul, {1'b0, below}, inv_q};
      default: {op, a, b} = {acc_unit_pkg::OpInt, y_q, y_q};
    endcase
  end
  assign op_start = state_q == Span || state_q == Step || state_q == Invert || state_q == Zero || state_q == Round;
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(op_start), .op_i(op), .a_i(a), .b_i(b), .done_o(op_done), .y_o(y));

  always_comb begin
    next = state_q;
    unique case (state_q)
      Idle:    if (start_i) next = Range;
      Range:   if (!fresh_q && !range_busy) next = !finite ? Idle : eight ? Step : Span;
      Span:    if (op_done) next = Step;
      Step:    if (op_done) next = Half;
      Half:    next = half >= 16'h7c00 ? Idle : half == 16'd0 ? Code : key ? Search : Invert;
      Search:  if (!fresh_q && !search_busy) next = Fit;
      Fit:     next = half >= 16'h7c00 ? Idle : Code;
      Invert:  if (op_done) next = eight ? Code : Zero;
      Zero:    if (op_done) next = Round;
      Round:   if (op_done) next = Code;
      default: if (!fresh_q && !codes_busy) next = Idle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (op_done) begin
      y_q <= y;
      if (state_q == Step) step_q <= y;
      if (state_q == Invert) inv_q <= y;
      if (state_q == Round) zero_q <= y[31:4] != 28'd0 ? 4'd15 : y[3:0];  // never below 0
    end
    if (state_q == Half) {blank_q, zero_q} <= {half == 16'd0, 4'd0};
    if (state_q == Fit) zero_q <= search_zero;
    if (state_q == Half || state_q == Fit) scale_q <= half;
    if (start_i) failed_q <= 1'b0;
    else if (state_q != Idle && next == Idle && state_q != Code) failed_q <= 1'b1;
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
