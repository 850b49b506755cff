// From the maximum M of a vector, and for NORM its sum of squares, to what makes codes of it and to their scale
// (docs/numerics.md, "Activations (A8) and RMSNorm"): 127 / M first, so that coding may begin, then M / 127 and, for
// NORM, r. One division at a time.
`default_nettype none
module acc_vec_scale (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic        norm_i,
  input  logic [14:0] n_i,
  input  logic [31:0] epsilon_i,
  input  logic [30:0] max_i,           // all four: constant until done_o
  input  logic        sum_valid_i,     // NORM
  output logic        sum_ready_o,
  input  logic [31:0] sum_i,
  output logic        inverse_valid_o, // from here on until the next start
  output logic [31:0] inverse_o,
  output logic        zero_o,          // M < 2^-100: every code is 0
  output logic        done_o,          // from here on until the next start
  output logic        bad_o,           // NaN or infinity
  output logic [31:0] scale_o
);
  localparam logic [31:0] One = 32'h3f800000;
  localparam logic [31:0] Most = 32'h42fe0000;    // 127
  localparam logic [30:0] Least = 31'h0d800000;   // 2^-100
  localparam logic [30:0] Infinity = 31'h7f800000;

  typedef enum logic [3:0] {
    Inverse = 4'd0,  // 127 / M
    Unit    = 4'd1,  // M / 127
    Sum     = 4'd2,  // the sum of squares is waited for
    Mean    = 4'd3,  // / n
    Epsilon = 4'd4,  // + epsilon
    Root    = 4'd5,
    Factor  = 4'd6,  // r = 1 / root
    Product = 4'd7,  // M / 127 * r
    Done    = 4'd8
  } step_e;
  step_e       step_q, after;
  logic        asked_q;         // the step's unit has its operands
  logic [2:0]  wait_q;          // cycles of a pipeline
  logic        inverse_valid_q, bad_q;
  logic [31:0] inverse_q, scale_q, value_q;  // value_q: what NORM has come to
  assign zero_o          = max_i < Least;
  assign done_o          = step_q == Done;
  assign bad_o           = bad_q;
  assign inverse_valid_o = inverse_valid_q;
  assign inverse_o       = inverse_q;
  assign scale_o         = scale_q;
  assign sum_ready_o     = step_q == Sum;

  logic        divides, div_valid, div_ready, div_out, root_valid, root_ready, root_out, next;
  logic [31:0] n_float, over, under, quotient, root, sum, product;
  assign divides    = step_q == Inverse || step_q == Unit || step_q == Mean || step_q == Factor;
  assign div_valid  = divides && !asked_q;
  assign root_valid = step_q == Root && !asked_q;
  assign over       = step_q == Inverse ? Most : step_q == Unit ? {1'b0, max_i} : step_q == Mean ? value_q : One;
  assign under      = step_q == Inverse ? {1'b0, max_i} : step_q == Unit ? Most : step_q == Mean ? n_float : value_q;
  acc_fp_from_int u_n (.clk_i, .x_i({17'd0, n_i}), .y_o(n_float));
  acc_fp_div u_div (.clk_i, .rst_ni, .in_valid_i(div_valid), .in_ready_o(div_ready), .a_i(over), .b_i(under),
                    .out_valid_o(div_out), .out_ready_i(1'b1), .y_o(quotient));
  acc_fp_sqrt u_root (.clk_i, .rst_ni, .in_valid_i(root_valid), .in_ready_o(root_ready), .x_i(value_q),
                      .out_valid_o(root_out), .out_ready_i(1'b1), .y_o(root));
  acc_fp_add u_add (.clk_i, .a_i(value_q), .b_i(epsilon_i), .y_o(sum));
  acc_fp_mul u_mul (.clk_i, .a_i(scale_q), .b_i(value_q), .y_o(product));

  always_comb begin
    unique case (step_q)
      Sum:              next = sum_valid_i;
      Epsilon, Product: next = wait_q == 3'd4;
      Root:             next = root_out;
      Done:             next = 1'b0;
      default:          next = div_out;
    endcase
  end

  always_comb begin
    unique case (step_q)
      Inverse: after = Unit;
      Unit:    after = norm_i ? Sum : Done;
      Sum:     after = Mean;
      Mean:    after = Epsilon;
      Epsilon: after = Root;
      Root:    after = Factor;
      Factor:  after = Product;
      default: after = Done;
    endcase
  end

  function automatic logic endless(input logic [30:0] x);
    endless = x >= Infinity;
  endfunction

  always_ff @(posedge clk_i) begin
    if (next) begin
      case (step_q)
        Inverse: inverse_q <= quotient;
        Unit:    scale_q   <= zero_o ? 32'd0 : quotient;
        Sum:     value_q   <= sum_i;
        Epsilon: value_q   <= sum;
        Root:    value_q   <= root;
        Product: scale_q   <= zero_o ? 32'd0 : product;
        default: value_q   <= quotient;
      endcase
    end
    if (!rst_ni) begin
      step_q          <= Done;
      asked_q         <= 1'b0;
      wait_q          <= '0;
      inverse_valid_q <= 1'b0;
      bad_q           <= 1'b0;
    end else if (start_i) begin
      step_q          <= Inverse;
      inverse_valid_q <= 1'b0;
      bad_q           <= endless(max_i);
    end else begin
      asked_q <= !next && (asked_q || (div_valid && div_ready) || (root_valid && root_ready));
      wait_q  <= next ? 3'd0 : wait_q + 3'(step_q == Epsilon || step_q == Product);
      if (next) begin
        step_q          <= after;
        inverse_valid_q <= 1'b1;
        if (step_q == Sum && endless(sum_i[30:0])) bad_q <= 1'b1;
        if (step_q == Factor && endless(quotient[30:0])) bad_q <= 1'b1;
        if (step_q == Product && !zero_o && endless(product[30:0])) bad_q <= 1'b1;
      end
    end
  end
endmodule
`default_nettype wire
