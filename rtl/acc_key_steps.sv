// The eight steps that a 4-bit key tries (docs/numerics.md, "Keys, values, queries"): of c = 0..7 in order the inverse of
// step * (1 - c / 32) and the zero. 48 cycles each.
`default_nettype none
module acc_key_steps (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [31:0] high_i,   // the range; constant until the last has been taken, as is step_i
  input  logic [31:0] low_i,
  input  logic [31:0] step_i,
  output logic        out_valid_o,
  input  logic        out_ready_i,
  output logic [31:0] inv_o,
  output logic [3:0]  zero_o
);
  // In order: a step is one operation.
  localparam logic [2:0] Idle = 3'd0, Middle = 3'd1, Halve = 3'd2, Step = 3'd3, Invert = 3'd4, Scale = 3'd5, Zero = 3'd6,
                         Round = 3'd7;
  localparam logic [31:0] Half = 32'h3f000000, SevenAndHalf = 32'h40f00000;
  logic [2:0]        state_q;
  logic               full_q, op_start, op_done;
  logic [2:0]         c_q;
  logic [31:0]        middle_q, y_q, inv_q, a, b, y;
  logic [3:0]         zero_q;
  acc_unit_pkg::op_e  op;
  assign out_valid_o = full_q;
  assign inv_o       = inv_q;
  assign zero_o      = zero_q;
  assign op_start    = state_q != Idle && !full_q;

  always_comb begin
    {op, a, b} = {acc_unit_pkg::OpMul, y_q, Half};
    unique case (state_q)
      Middle:  {op, a, b} = {acc_unit_pkg::OpAdd, high_i, low_i};
      Step:    {a, b} = {step_i, c_q == 3'd0 ? acc_unit_pkg::One : {9'd126, 4'd0 - {1'b0, c_q}, 19'd0}};
      Invert:  {op, a, b} = {acc_unit_pkg::OpDiv, acc_unit_pkg::One, y_q};
      Scale:   {a, b} = {middle_q, inv_q};
      Zero:    {op, a, b} = {acc_unit_pkg::OpAdd, SevenAndHalf, {!y_q[31], y_q[30:0]}};
      Round:   op = acc_unit_pkg::OpInt;
      default: ;
    endcase
  end
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(op_start), .op_i(op), .a_i(a), .b_i(b), .done_o(op_done), .y_o(y));

  always_ff @(posedge clk_i) begin
    if (op_done) begin
      y_q <= y;
      if (state_q == Halve) middle_q <= y;
      if (state_q == Invert) inv_q <= y;
      if (state_q == Round) zero_q <= y[31] ? 4'd0 : y[30:4] != 27'd0 ? 4'd15 : y[3:0];
    end
    if (!rst_ni) begin
      state_q <= Idle;
      full_q  <= 1'b0;
      c_q     <= '0;
    end else if (start_i) begin
      state_q <= Middle;
      full_q  <= 1'b0;
      c_q     <= '0;
    end else if (full_q) begin
      full_q <= !out_ready_i;
      if (out_ready_i) begin
        c_q     <= c_q + 3'd1;
        state_q <= c_q == 3'd7 ? Idle : Step;
      end
    end else if (op_done) begin
      full_q <= state_q == Round;
      if (state_q != Round) state_q <= state_q + 3'd1;
    end
  end
endmodule
`default_nettype wire
