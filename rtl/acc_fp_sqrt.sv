// The square root, correctly rounded: one at a time, 28 cycles from taking the operand to the result.
`default_nettype none
module acc_fp_sqrt (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        in_valid_i,
  output logic        in_ready_o,
  input  logic [31:0] x_i,
  output logic        out_valid_o,
  input  logic        out_ready_i,
  output logic [31:0] y_o
);
  logic [5:0]         zeros;
  logic [23:0]        norm;
  logic [8:0]         exp;  // biased, plus the bias
  logic               zero;
  logic [1:0]         kind;
  assign zeros = acc_fp_pkg::zeros({acc_fp_pkg::mantissa(x_i), 24'd0});
  assign norm  = acc_fp_pkg::mantissa(x_i) << zeros[4:0];
  assign exp   = 9'(acc_fp_pkg::exponent(x_i)) + 9'd127 - 9'(zeros);
  assign zero  = x_i[30:0] == 31'd0;
  always_comb begin
    kind = acc_fp_pkg::Finite;
    if (acc_fp_pkg::is_nan(x_i) || (x_i[31] && !zero)) kind = acc_fp_pkg::NotANumber;
    else if (acc_fp_pkg::is_inf(x_i)) kind = acc_fp_pkg::Infinite;
  end

  // One bit of the root a cycle, two of the radicand: 24 of mantissa and two below. A root is never below 2^-126.
  localparam logic [4:0] Steps = 5'd26;
  logic [4:0]         left_q;
  logic               busy_q, done_q, sign_q, zero_q;
  logic [1:0]         kind_q;
  logic [7:0]         exp_q;
  logic [24:0]        radicand_q;  // below these all bits are 0
  logic [27:0]        rest_q, rest, trial;
  logic [25:0]        root_q;
  logic               fits;
  logic [31:0]        y_q;
  assign rest  = {rest_q[25:0], radicand_q[24:23]};
  assign trial = {root_q, 2'b01};
  assign fits  = rest >= trial;

  assign in_ready_o  = !busy_q && (!done_q || out_ready_i);
  assign out_valid_o = done_q;
  assign y_o         = y_q;

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) begin
      sign_q     <= x_i[31];
      kind_q     <= kind;
      zero_q     <= zero;
      exp_q      <= exp[8:1];
      radicand_q <= exp[0] ? {norm, 1'b0} : {1'b0, norm};
      rest_q     <= '0;
      root_q     <= '0;
      left_q     <= Steps;
    end else if (busy_q && left_q != 5'd0) begin
      radicand_q <= {radicand_q[22:0], 2'b00};
      rest_q     <= fits ? rest - trial : rest;
      root_q     <= {root_q[24:0], fits};
      left_q     <= left_q - 5'd1;
    end
    if (busy_q && left_q == 5'd0)
      y_q <= acc_fp_pkg::special(kind_q, 1'b0, zero_q ? {sign_q, 31'd0}
                                 : acc_fp_pkg::round(1'b0, {2'b00, exp_q}, {root_q, rest_q != 28'd0}));
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_q <= 1'b0;
    end else begin
      busy_q <= (in_valid_i && in_ready_o) || (busy_q && left_q != 5'd0);
      done_q <= (busy_q && left_q == 5'd0) || (done_q && !out_ready_i);
    end
  end
endmodule
`default_nettype wire
