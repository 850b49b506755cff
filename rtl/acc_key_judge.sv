// Judges the codes of a 4-bit key (docs/numerics.md, "Keys, values, queries"): of eight candidates in order the first of
// the greatest gain, its fit a / b and what made it. 56 cycles each.
`default_nettype none
module acc_key_judge (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [31:0] step_i,       // the fit where no gain is above 0; constant, as is key_main_i
  input  logic [31:0] key_main_i,   // sum(x * m)
  input  logic        in_valid_i,
  output logic        in_ready_o,
  input  logic [31:0] key_codes_i,  // sum(x * v)
  input  logic [31:0] main_codes_i, // sum(v * m)
  input  logic [15:0] codes_i,      // sum(v * v)
  input  logic [31:0] inv_i,
  input  logic [3:0]  zero_i,
  output logic        busy_o,       // from the start until eight are judged
  output logic [31:0] fit_o,
  output logic [31:0] inv_o,
  output logic [3:0]  zero_o
);
  // In order: a step is one operation.
  localparam logic [2:0] Take = 3'd0, Share = 3'd1, Fit = 3'd2, Square = 3'd3, Norm = 3'd4, Divide = 3'd5, Gain = 3'd6;
  logic [2:0]        state_q;
  logic              busy_q, op_done, taken, better;
  logic [3:0]        judged_q;
  logic [31:0]       key_codes_q, main_codes_q, inv_q, a_q, y_q, ratio_q, best_q, fit_q, best_inv_q, a, b, y, gain, square;
  logic [15:0]       codes_q;
  logic [3:0]        zero_q, best_zero_q;
  acc_unit_pkg::op_e op;
  assign in_ready_o = busy_q && state_q == Take;
  assign taken      = in_valid_i && in_ready_o;
  assign busy_o     = busy_q;
  assign fit_o      = fit_q;
  assign inv_o      = best_inv_q;
  assign zero_o     = best_zero_q;
  assign gain       = acc_fp_pkg::greater(a_q, 32'd0) ? y : 32'd0;
  assign better     = judged_q == 4'd0 || acc_fp_pkg::greater(gain, best_q);
  acc_fp_from_int u_codes (.clk_i, .x_i({16'd0, codes_q}), .y_o(square));  // exact

  always_comb begin
    unique case (state_q)
      Share:   {op, a, b} = {acc_unit_pkg::OpMul, key_main_i, main_codes_q};
      Fit:     {op, a, b} = {acc_unit_pkg::OpAdd, key_codes_q, y_q};
      Square:  {op, a, b} = {acc_unit_pkg::OpMul, main_codes_q, main_codes_q};
      Norm:    {op, a, b} = {acc_unit_pkg::OpAdd, square, y_q};
      Divide:  {op, a, b} = {acc_unit_pkg::OpDiv, a_q, y_q};
      default: {op, a, b} = {acc_unit_pkg::OpMul, a_q, ratio_q};
    endcase
  end
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(state_q != Take), .op_i(op), .a_i(a), .b_i(b), .done_o(op_done), .y_o(y));

  always_ff @(posedge clk_i) begin
    if (taken) begin
      {key_codes_q, main_codes_q, codes_q} <= {key_codes_i, main_codes_i, codes_i};
      {inv_q, zero_q} <= {inv_i, zero_i};
    end
    if (op_done) begin
      y_q <= y;
      if (state_q == Fit) a_q <= y;
      if (state_q == Divide) ratio_q <= y;
      if (state_q == Gain && better) begin
        best_q <= gain;
        {best_inv_q, best_zero_q} <= {inv_q, zero_q};
      end
    end
    if (start_i) fit_q <= step_i;
    else if (op_done && state_q == Gain && better && acc_fp_pkg::greater(gain, 32'd0)) fit_q <= ratio_q;
    if (!rst_ni) begin
      state_q  <= Take;
      busy_q   <= 1'b0;
      judged_q <= '0;
    end else if (start_i) begin
      state_q  <= Take;
      busy_q   <= 1'b1;
      judged_q <= '0;
    end else if (taken) begin
      state_q <= Share;
    end else if (op_done) begin
      state_q <= state_q == Gain ? Take : state_q + 3'd1;
      if (state_q == Gain) begin
        judged_q <= judged_q + 4'd1;
        if (judged_q == 4'd7) busy_q <= 1'b0;
      end
    end
  end
endmodule
`default_nettype wire
