// Looks for the scale and zero of a 4-bit key (docs/numerics.md, "Keys, values, queries"). Three stages work at once, each
// at a candidate of its own: acc_key_steps finds its inverse step and zero, this module its codes (by acc_head_codes) and
// their sums with the key, with the main direction m of the queries and with themselves, acc_key_judge their gain. A
// candidate takes 2 w + 53 cycles, w words of 16 elements, and 56 at least.
`default_nettype none
module acc_key_search (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          start_i,
  input  logic [8:0]    n_i,          // these are constant until the end
  input  logic [31:0]   high_i,
  input  logic [31:0]   low_i,
  input  logic [31:0]   step_i,
  output logic          busy_o,
  output logic [3:0]    word_o,       // acc_head_turn
  input  logic [511:0]  x_i,
  input  logic [511:0]  m_i,
  output logic          codes_start_o,
  input  logic          codes_busy_i,
  input  logic [2047:0] codes_i,
  output logic [31:0]   inv_o,        // of the candidate, after the end of the best
  output logic [3:0]    zero_o,
  output logic [31:0]   fit_o         // of the best
);
  typedef enum logic [2:0] {Idle = 3'd0, Main = 3'd1, Wait = 3'd2, Code = 3'd3, Sum = 3'd4, Hand = 3'd5,
                            Judge = 3'd6} state_e;
  state_e       state_q;
  logic         fresh_q;  // the state's first cycle
  logic         steps_valid, judge_ready, judge_busy, dot_start, x_busy, m_busy;
  logic [2:0]   c_q;
  logic [31:0]  steps_inv, inv_q, best_inv, key_main_q, x_sum, m_sum;
  logic [3:0]   steps_zero, zero_q, best_zero, m_word, last;
  logic [15:0]  square_q;
  logic [11:0]  squares;
  logic [511:0] v;
  assign busy_o        = state_q != Idle;
  assign codes_start_o = state_q == Code && fresh_q;
  assign dot_start     = (state_q == Main || state_q == Sum) && fresh_q;
  assign inv_o         = state_q == Idle ? best_inv : inv_q;
  assign zero_o        = state_q == Idle ? best_zero : zero_q;
  assign last          = 4'((n_i - 9'd1) >> 4);

  acc_key_steps u_steps (.clk_i, .rst_ni, .start_i, .high_i, .low_i, .step_i, .out_valid_o(steps_valid),
                         .out_ready_i(state_q == Wait), .inv_o(steps_inv), .zero_o(steps_zero));
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [3:0] code;
    assign code = codes_i[{word_o, 4'(l), 3'd0} +: 4];
    assign v[l*32 +: 32] = {1'b0, word_o, 4'(l)} < n_i ?
                           acc_unit_pkg::small_float({1'b0, code} - {1'b0, zero_q}) : 32'd0;
  end
  always_comb begin
    squares = '0;
    for (int l = 0; l < 16; l++)
      if ({1'b0, word_o, 4'(l)} < n_i)
        squares += (12'(codes_i[{word_o, 4'(l), 3'd0} +: 4]) - 12'(zero_q)) *
                   (12'(codes_i[{word_o, 4'(l), 3'd0} +: 4]) - 12'(zero_q));
  end
  // Both run in step. For sum(x * m) the second has x in the codes' place.
  acc_head_dot u_x (.clk_i, .rst_ni, .start_i(dot_start), .n_i, .busy_o(x_busy), .word_o, .a_i(x_i), .b_i(v),
                    .sum_o(x_sum));
  acc_head_dot u_m (.clk_i, .rst_ni, .start_i(dot_start), .n_i, .busy_o(m_busy), .word_o(m_word), .a_i(m_i),
                    .b_i(state_q == Main ? x_i : v), .sum_o(m_sum));
  acc_key_judge u_judge (.clk_i, .rst_ni, .start_i, .step_i, .key_main_i(key_main_q), .in_valid_i(state_q == Hand),
                         .in_ready_o(judge_ready), .key_codes_i(x_sum), .main_codes_i(m_sum), .codes_i(square_q),
                         .inv_i(inv_q), .zero_i(zero_q), .busy_o(judge_busy), .fit_o, .inv_o(best_inv),
                         .zero_o(best_zero));

  state_e next;
  logic   squaring_q;
  always_comb begin
    next = state_q;
    unique case (state_q)
      Idle:    if (start_i) next = Main;
      Main:    if (!fresh_q && !m_busy) next = Wait;
      Wait:    if (steps_valid) next = Code;
      Code:    if (!fresh_q && !codes_busy_i) next = Sum;
      Sum:     if (!fresh_q && !x_busy) next = Hand;
      Hand:    if (judge_ready) next = c_q == 3'd7 ? Judge : Wait;
      default: if (!judge_busy) next = Idle;
    endcase
  end
  always_ff @(posedge clk_i) begin
    if (state_q == Main) key_main_q <= m_sum;
    if (state_q == Wait) {inv_q, zero_q} <= {steps_inv, steps_zero};
    if (dot_start) square_q <= '0;
    else if (squaring_q) square_q <= square_q + 16'(squares);
    if (!rst_ni) begin
      state_q    <= Idle;
      fresh_q    <= 1'b0;
      squaring_q <= 1'b0;
      c_q        <= '0;
    end else begin
      state_q    <= next;
      fresh_q    <= next != state_q;
      squaring_q <= dot_start || (squaring_q && word_o != last);
      if (start_i) c_q <= '0;
      else if (state_q == Hand && judge_ready) c_q <= c_q + 3'd1;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) x_busy == m_busy && word_o == m_word);
`endif
endmodule
`default_nettype wire
