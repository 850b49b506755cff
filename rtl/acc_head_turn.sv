// A head's vector and what happens to it before it is coded (docs/numerics.md, "Keys, values, queries"): rotation by
// half-split pairs, less the mean, Walsh-Hadamard transform over blocks of the largest power of two in n. All are passes
// of one kind, a word of 16 elements a cycle: y = a * ca + b * cb, with factors of 1 and -1 where there is nothing to
// multiply, which is exact. 8 cycles behind the last word of a pass the next begins; a transform is a pass for each stride.
`default_nettype none
module acc_head_turn (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic [8:0]          n_i,          // even; constant while the unit works
  // the vector's words while it does not
  input  logic                w_valid_i,
  input  logic [7:0]          w_base_i,     // acc_head_mem
  input  logic [15:0]         w_mask_i,
  input  logic [511:0]        w_data_i,
  input  logic [3:0]          r_word_i,     // stands in the same cycle; +0 behind the vector
  output logic [511:0]        r_o,
  // one turn
  input  logic                start_i,
  input  acc_unit_pkg::turn_e turn_i,       // taken with start_i
  output logic                busy_o,
  output logic [2:0]          angle_word_o, // in the same cycle (acc_angles)
  input  logic [511:0]        cos_i,
  input  logic [511:0]        sin_i,
  output logic [3:0]          mean_word_o,
  input  logic [511:0]        mean_i
);
  localparam int unsigned Cycles = acc_fp_pkg::MulCycles + acc_fp_pkg::AddCycles;
  acc_unit_pkg::turn_e turn_q;
  logic                side_q, busy_q, reading_q;
  logic [7:0]          stride_q;            // one-hot
  logic [3:0]          read_q, write_q;     // words, or words of both halves in turn
  logic [3:0]          last;
  logic [Cycles-1:0]   valid_q;
  logic                ends, rotate;
  logic [7:0]          half, blocks_last;   // blocks_last: the last stride of the transform
  assign rotate      = turn_q == acc_unit_pkg::TurnRotate;
  assign half        = n_i[8:1];
  assign last        = rotate ? {3'((half - 8'd1) >> 4), 1'b1} : 4'((n_i - 9'd1) >> 4);
  assign ends        = valid_q[Cycles-1] && write_q == last;
  assign blocks_last = half & (8'd0 - half);
  assign busy_o      = busy_q;

  // ---- read ----
  logic [511:0] a, b, y, data;
  logic [7:0]   b_base, base;
  logic [15:0]  mask;
  assign angle_word_o = read_q[3:1];
  assign mean_word_o  = read_q;
  assign b_base       = rotate ? half + {1'b0, read_q[3:1], 4'd0} : {read_q ^ stride_q[7:4], 4'd0};
  assign r_o          = a;

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0] mine, other, near, first, second, ca, cb, product, product2;
    logic        upper;
    assign mine = a[l*32 +: 32];
    always_comb begin
      unique case (stride_q[3:0])
        4'd1:    near = a[(l ^ 1)*32 +: 32];
        4'd2:    near = a[(l ^ 2)*32 +: 32];
        4'd4:    near = a[(l ^ 4)*32 +: 32];
        default: near = a[(l ^ 8)*32 +: 32];
      endcase
      unique case (turn_q)
        acc_unit_pkg::TurnRotate: begin
          other = b[l*32 +: 32];
          upper = read_q[0];
          {ca, cb} = {cos_i[l*32 +: 32], {!upper, 31'd0} ^ sin_i[l*32 +: 32]};
        end
        acc_unit_pkg::TurnMean: begin
          other = mean_i[l*32 +: 32];
          upper = 1'b0;
          {ca, cb} = {acc_unit_pkg::One, acc_unit_pkg::MinusOne};
        end
        default: begin
          other = stride_q[3:0] != 4'd0 ? near : b[l*32 +: 32];
          upper = ({read_q, 4'(l)} & stride_q) != 8'd0;
          {ca, cb} = {acc_unit_pkg::One, upper ? acc_unit_pkg::MinusOne : acc_unit_pkg::One};
        end
      endcase
    end
    assign {first, second} = upper ? {other, mine} : {mine, other};
    acc_fp_mul u_first (.clk_i, .a_i(first), .b_i(ca), .y_o(product));
    acc_fp_mul u_second (.clk_i, .a_i(second), .b_i(cb), .y_o(product2));
    acc_fp_add u_add (.clk_i, .a_i(product), .b_i(product2), .y_o(y[l*32 +: 32]));
  end

  // ---- write ----
  logic [7:0] rotated;  // place of a word of rotated pairs in its half
  assign rotated = {1'b0, write_q[3:1], 4'd0};
  always_comb begin
    base = w_base_i;
    mask = w_mask_i;
    data = w_data_i;
    if (busy_q) begin
      data = y;
      base = rotate ? rotated + (write_q[0] ? half : 8'd0) : {write_q, 4'd0};
      for (int l = 0; l < 16; l++) mask[l] = !rotate || rotated + 8'(l) < half;
    end
  end
  acc_head_mem #(.Sides(2)) u_mem (.clk_i, .n_i, .w_valid_i(busy_q ? valid_q[Cycles-1] : w_valid_i),
                                   .w_side_i(side_q ^ busy_q), .w_base_i(base), .w_mask_i(mask), .w_data_i(data),
                                   .r_side_i(side_q), .a_word_i(busy_q ? rotate ? {1'b0, read_q[3:1]} : read_q : r_word_i),
                                   .a_o(a), .b_base_i(b_base), .b_o(b));

  always_ff @(posedge clk_i) begin
    if (!busy_q) turn_q <= turn_i;
    if (!rst_ni) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      side_q    <= 1'b0;
      stride_q  <= 8'd1;
      read_q    <= '0;
      write_q   <= '0;
      valid_q   <= '0;
    end else begin
      valid_q <= {valid_q[Cycles-2:0], reading_q};
      if (start_i || ends) begin
        busy_q    <= start_i || (turn_q == acc_unit_pkg::TurnTransform && stride_q != blocks_last);
        reading_q <= start_i || (turn_q == acc_unit_pkg::TurnTransform && stride_q != blocks_last);
        side_q    <= side_q ^ ends;
        stride_q  <= start_i ? 8'd1 : stride_q << 1;
        read_q    <= '0;
        write_q   <= '0;
      end else begin
        read_q    <= read_q + 4'(reading_q);
        write_q   <= write_q + 4'(valid_q[Cycles-1]);
        if (read_q == last) reading_q <= 1'b0;
      end
    end
  end
endmodule
`default_nettype wire
